"""Sessions that outlive a request: stores, ids and their binding to a request."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stateguard.sessions.base import OnConflict, SessionStore
from stateguard.sessions.binding import OnStoreError, SessionBinding, bind, end_session, renew_session
from stateguard.sessions.identity import Request, SessionIds, SignedCookie, SignedHeader, UnsignedHeader

if TYPE_CHECKING:
    from stateguard.sessions.memory import MemoryStore
    from stateguard.sessions.redis import RedisStore
    from stateguard.sessions.sqlite import SQLiteStore

__all__ = [
    "MemoryStore",
    "OnConflict",
    "OnStoreError",
    "RedisStore",
    "Request",
    "SQLiteStore",
    "SessionBinding",
    "SessionIds",
    "SessionStore",
    "SignedCookie",
    "SignedHeader",
    "UnsignedHeader",
    "bind",
    "end_session",
    "renew_session",
]

_STORES = {
    "MemoryStore": "stateguard.sessions.memory",
    "RedisStore": "stateguard.sessions.redis",
    "SQLiteStore": "stateguard.sessions.sqlite",
}


def __getattr__(name: str) -> Any:
    """The stores, imported when first asked for: each middleware imports this package."""
    if name not in _STORES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_STORES[name]), name)
    globals()[name] = found
    return found
