"""The same service, repaired: each change is marked REPAIRED where the leaking twin says FAULT."""
