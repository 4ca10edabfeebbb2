"""From a trained network to files that are known to be right, and timed."""
