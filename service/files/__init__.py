"""Many image files in, an answer for each out. Nothing here parses arguments or prints."""
