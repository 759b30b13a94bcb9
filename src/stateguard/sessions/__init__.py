"""Sessions that outlive a request: stores, ids and their binding to a request."""

from stateguard.sessions.base import OnConflict, SessionStore
from stateguard.sessions.memory import MemoryStore
from stateguard.sessions.redis import RedisStore
from stateguard.sessions.sqlite import SQLiteStore

__all__ = ["MemoryStore", "OnConflict", "RedisStore", "SQLiteStore", "SessionStore"]
