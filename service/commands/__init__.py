"""One module per command that is more than a call: each adds its parser and runs."""
