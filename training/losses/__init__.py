"""Losses: one file each, every term returned by name."""
