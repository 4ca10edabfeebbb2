"""Networks in 16 and 8 bits."""
