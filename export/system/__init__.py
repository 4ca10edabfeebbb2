"""What every command needs: errors, what is said, files that appear whole, numbers, signals."""
