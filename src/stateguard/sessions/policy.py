"""What is decided once about sessions: by a store for all of them, by a caller for its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from stateguard.sessions.merge import Rule

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """A store's rules about its sessions; see :class:`stateguard.sessions.base.SessionStore`."""

    ttl: float | None
    on_conflict: str
    merge: Mapping[str, Rule]
    max_bytes: int
    window: int | None
    lock_lease: float
    lock_wait: float


@dataclass(frozen=True, slots=True)
class Terms(Generic[T]):
    """How one caller wants sessions: their kind, the name of the list that grows, and for whom."""

    session_factory: Callable[[], T]
    log: str | None
    user_id: str | None
