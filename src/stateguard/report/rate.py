"""How many leaks are said per minute: a log that scrolls by is read by nobody."""

from __future__ import annotations

from time import monotonic

WINDOW = 60.0
"""Seconds over which messages are counted."""


class RateLimit:
    """At most ``limit`` messages per :data:`WINDOW`; 0 for as many as there are. One thread at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun = float("-inf")
        self._said = 0
        self.held_back = 0
        """Messages that were not said since :meth:`missed` was last asked."""

    def allows(self) -> bool:
        """Whether one more may be said now."""
        if not self._limit:
            return True
        now = monotonic()
        if now - self._begun >= WINDOW:
            self._begun, self._said = now, 0
        if self._said >= self._limit:
            self.held_back += 1
            return False
        self._said += 1
        return True

    def missed(self, all: bool = False) -> int:
        """How many were held back in a minute that is over, or ``all`` so far; said once."""
        if not self.held_back or not (all or monotonic() - self._begun >= WINDOW):
            return 0
        n, self.held_back = self.held_back, 0
        return n
