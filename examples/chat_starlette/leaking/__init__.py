"""The service with the classic faults, each marked FAULT where it is declared."""
