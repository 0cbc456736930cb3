"""Networks: one file each, normalisation inside, heads shared."""
