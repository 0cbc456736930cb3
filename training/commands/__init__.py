"""What each command does, one module each; `training.cli` lists them."""
