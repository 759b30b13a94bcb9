"""A client library configured by assigning to its module."""

api_key = None


def complete(prompt):
    return f"{prompt} billed to {api_key}"
