"""Leaks that are in no tracker: shapes in which teams write them, each a function of the user's name."""
