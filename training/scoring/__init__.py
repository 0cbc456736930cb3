"""What an answer is worth: reading the network's output, measuring it, tuning it."""
