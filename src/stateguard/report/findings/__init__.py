"""How audit findings are printed: one format per module."""
