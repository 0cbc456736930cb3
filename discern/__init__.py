"""What a Python program needs to use a Discern server."""
