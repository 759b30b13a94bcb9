"""How findings and leaks look to people and programs: one format per module."""
