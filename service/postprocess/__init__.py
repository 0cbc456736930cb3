"""From the network's output to instances: pure functions on arrays, one file per decoder."""
