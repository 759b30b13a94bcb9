"""Observe process-shared state: which objects, what they held, and what has changed since."""
