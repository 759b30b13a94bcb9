"""What following lines may cost: a share of the clock, saved up for a second and spent at once."""

from __future__ import annotations

from time import perf_counter_ns, thread_time_ns

SAVED = 1_000_000_000
"""Nanoseconds of the clock whose share may be spent at once: 50 ms of tracing for a budget of 5 %."""


class Purse:
    """Refills by ``share`` of the time that passes. Once empty, it stays closed until it is full again.

    With a share of 1 or more it never empties. The caller holds the guard's lock, or does not mind a race:
    an update that is lost makes it a little richer or poorer.
    """

    __slots__ = ("_at", "_closed", "_full", "_left", "_share")

    def __init__(self, share: float) -> None:
        self._share = max(share, 1e-3)
        self._full = self._left = int(SAVED * self._share)
        self._at = self.clock()
        self._closed = False

    @staticmethod
    def clock() -> int:
        """Nanoseconds on the clock by which it refills."""
        return perf_counter_ns()

    @staticmethod
    def meter() -> int:
        """Nanoseconds that this thread has worked: what is spent is the difference of two readings."""
        return thread_time_ns()

    @property
    def endless(self) -> bool:
        """Whether cost is no object."""
        return self._share >= 1

    def spend(self, cost: int) -> bool:
        """Take out so many nanoseconds; whether there is anything left."""
        if self.endless:
            return True
        self._left -= cost
        if self._left <= 0:
            self._refill()
            self._closed = self._closed or self._left <= 0
        return not self._closed

    def open(self) -> bool:
        """Whether spending may begin."""
        if self._closed:
            self._refill()
            self._closed = self._left < self._full
        return not self._closed

    def _refill(self) -> None:
        now = self.clock()
        self._left = min(self._full, self._left + int(self._share * (now - self._at)))
        self._at = now
