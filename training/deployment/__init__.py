"""From a trained network to a model folder that servers load."""
