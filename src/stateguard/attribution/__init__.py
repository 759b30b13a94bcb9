"""Say who made a change: which request was running, and nobody else."""
