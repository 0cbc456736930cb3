"""Metrics of instance segmentation, as the papers define them."""
