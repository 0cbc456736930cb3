"""The training loop: batches, steps, what is saved, and how a run begins."""
