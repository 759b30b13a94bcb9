"""The rule families. Each module claims the writes that are its business and words the findings."""
