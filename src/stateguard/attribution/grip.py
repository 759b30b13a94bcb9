"""Whether this thread has kept the interpreter lock since the comparison before.

A thread that is made to give the lock up waits until another has taken it, and the system counts that wait,
as it counts every time that it takes the processor away. So a thread that has been on a processor all along
has lost the lock at most during calls that let go of it by themselves and got it back at once, too soon for
another thread to wake, write and stop. Others that only waited for the lock meanwhile have used a little
processor time, for they wake now and then to ask for it.

On a free-threaded build there is no such lock: nobody ever keeps it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stateguard.parallel import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable

NOISE = 20_000
"""Nanoseconds of processor time that a thread may have used by waking to ask for the interpreter lock."""

Mark = tuple[int, int]
"""A thread, and how often it had been off the processor by then; -1 where that is not counted."""


def _counter() -> Callable[[], int]:
    if PARALLEL:  # others run beside this thread, however long it has been on a processor
        return lambda: -1
    try:
        resource: Any = import_module("resource")
        of_this_thread = resource.RUSAGE_THREAD
    except (ImportError, AttributeError):  # not Linux
        return lambda: -1
    usage = resource.getrusage

    def switches() -> int:
        used = usage(of_this_thread)
        return int(used.ru_nvcsw + used.ru_nivcsw)

    return switches


_switches = _counter()


class Grip:
    """Keeps the marks of one guard. The caller holds the guard's lock."""

    __slots__ = ("_before", "_before_full", "_ident", "_now", "_now_full")

    def __init__(self, ident: Callable[[], int]) -> None:
        self._ident = ident
        self._before: Mark = (0, -1)
        self._now = self._before_full = self._now_full = self._before

    def about_to_look(self, full: bool, crowded: bool) -> None:
        """To be called before each comparison; ``crowded``: other threads may be running."""
        self._before = self._now
        self._now = (self._ident(), _switches() if crowded else -1)
        if full:
            self._before_full, self._now_full = self._now_full, self._now

    def kept(self, full: bool) -> bool:
        """Whether this thread made the comparison before (the ``full`` one) and has not paused since."""
        thread, switches = self._before_full if full else self._before
        return switches >= 0 and thread == self._ident() and _switches() == switches
