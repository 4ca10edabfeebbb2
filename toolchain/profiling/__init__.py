"""Measuring a device entry by entry, and predicting networks from the measurements."""
