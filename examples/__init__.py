"""A chat agent service that leaks, its repaired twin, and the run that shows both: ``python -m examples``."""
