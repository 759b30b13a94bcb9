"""Which occurrences of a leak are handed on: the first ones all, then one per interval with the count."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.leak import Leak

FIRST = 20
"""Occurrences of each leak that are always handed on."""

INTERVAL = 1.0
"""Seconds between two of the same leak after that."""


class Thinning:
    """Decides under the guard's lock; keeps what was held back, so that its count is not lost."""

    def __init__(self, first: int = FIRST, interval: float = INTERVAL) -> None:
        self._first = first
        self._interval = interval
        self._next: dict[str, float] = {}
        self._held: dict[str, tuple[Leak, int]] = {}
        self._due = 0.0

    def passes(self, leak: Leak, seen: int) -> bool:
        """Whether this occurrence is handed on now."""
        if seen <= self._first:
            return True
        now = monotonic()
        if now >= self._next.get(leak.id, 0.0):
            self._next[leak.id] = now + self._interval
            self._held.pop(leak.id, None)
            return True
        if not self._held:
            self._due = now + self._interval
        self._held[leak.id] = (leak, seen)
        return False

    def due(self) -> bool:
        """Whether something has been held back for an interval. Cheap; needs no lock."""
        return bool(self._held) and monotonic() >= self._due

    def release(self) -> list[tuple[Leak, int]]:
        """The latest of each leak that was held back."""
        held, self._held = list(self._held.values()), {}
        return held

    def forget(self, key: str) -> None:
        """That leak is not counted any more."""
        self._next.pop(key, None)
        self._held.pop(key, None)
