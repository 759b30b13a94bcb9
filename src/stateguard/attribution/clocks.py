"""Which threads can have run at all: a thread whose CPU clock stands still has executed nothing.

A request that waits for a database or a socket consumes no processor time, so it cannot have written
anything since its clock was last read. The clock counts every instruction of the thread, also while it
only asks for the interpreter lock: a clock that moved proves nothing, one that did not is an alibi.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_clock_of: Callable[[int], int] | None = getattr(time, "pthread_getcpuclockid", None)


class Clocks:
    """The CPU clocks of threads. Where the platform has none, nobody has an alibi."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[int, int] = {}

    def know(self, thread: int) -> None:
        """Note the clock of the calling thread. Asking for another thread's is not safe once it has died."""
        if _clock_of is not None:
            try:
                self._ids[thread] = _clock_of(thread)
            except (OSError, OverflowError):
                self._ids.pop(thread, None)

    def forget(self, thread: int) -> None:
        """The thread has nothing under way any more."""
        self._ids.pop(thread, None)

    def read(self, threads: Iterable[int]) -> dict[int, int]:
        """Nanoseconds of processor time that each thread has used; threads without a clock are left out."""
        found = {}
        for thread in list(threads):  # ends may be noted meanwhile
            clock = self._ids.get(thread)
            if clock is not None:
                try:
                    found[thread] = time.clock_gettime_ns(clock)
                except OSError:  # it has died
                    continue
        return found
