"""Discern's gateway: an image comes in over HTTP, instance masks go out."""
