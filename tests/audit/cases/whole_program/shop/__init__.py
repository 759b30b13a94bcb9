"""Re-exports: the names used elsewhere come from here."""

from .store import CARTS as carts
from .store import record

__all__ = ["carts", "record"]
