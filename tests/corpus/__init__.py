"""Reproductions of leaks and harmless writes from public trackers, each with its ground truth."""
