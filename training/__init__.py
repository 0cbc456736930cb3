"""Train, evaluate and export the networks that Discern serves."""
