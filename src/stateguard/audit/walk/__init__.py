"""One pass over a syntax tree that records the facts of a module."""
