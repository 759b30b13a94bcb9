"""Variables that other modules rebind."""

CURRENT = None
COUNT = 0
LIMIT = 10
CLIENT = None
