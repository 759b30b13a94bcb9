"""Whose turn it is to look: a lock under which nothing of the application's is let go of.

Looking replaces what was remembered of objects, which may be the last thing to refer to some. Their
finalizers are application code, and may wait for a lock that a thread holds which waits for its turn. So what
is discarded under the lock is kept until it has been released.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class Turn:
    """A reentrant lock that lets go of what was discarded only once it has been released."""

    __slots__ = ("_depth", "_discarded", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._discarded: list[Any] = []

    def acquire(self, timeout: float = -1) -> bool:
        """Wait for the turn, at most ``timeout`` seconds; whether it has come."""
        taken = self._lock.acquire(timeout=timeout)
        if taken:
            self._depth += 1
        return taken

    def release(self) -> None:
        """End the turn, then let go of what was discarded in it."""
        self._depth -= 1
        discarded: list[Any] = []
        if not self._depth:
            discarded, self._discarded = self._discarded, discarded
        self._lock.release()

    def discard(self, what: Any) -> None:
        """Hold on to ``what`` until the turn ends."""
        self._discarded.append(what)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
