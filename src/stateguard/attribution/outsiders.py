"""Whether code outside every request may have run: background loops, timers, code around the guard.

A request that runs alone among requests is not alone in its process. Before it is accused, what else runs
watched code is looked for: this thread, where it works for no request; threads that go round in a loop of
watched code; threads that have ended since the comparison before.
"""

from __future__ import annotations

import dis
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import CodeType, FrameType

TOLERANCE = 2_000
"""Nanoseconds by which the process's clock less the thread's own may seem to move while no other thread
runs: they are not read at the same instant. A thread that wakes and takes the interpreter lock needs more."""

DEPTH = 60
"""Frames of a stack that are searched for watched code."""


class Outsiders:
    """Keeps the readings of one guard. The caller holds the guard's lock."""

    __slots__ = ("_before", "_before_full", "_ident", "_now", "_now_full")

    def __init__(self, ident: Callable[[], int]) -> None:
        self._ident = ident
        self._before = self._now = (0, 0, 0)
        self._before_full = self._now_full = (0, 0, 0)

    def about_to_look(self, full: bool = True) -> None:
        """To be called before each comparison of state, ``full`` or of its hot part."""
        self._before = self._now
        threads = _threads()
        # One thread now and one at the next comparison: what ran in between was started by that thread.
        self._now = (self._ident(), threads, _rest() if threads > 1 else 0)
        if full:
            self._before_full, self._now_full = self._now_full, self._now

    def may_have_run(
        self, busy: Container[int], watched: Callable[[object], bool], full: bool = False
    ) -> bool:
        """Whether watched code that works for none of the ``busy`` threads' requests may have run.

        The time meant is that since the comparison before, the ``full`` one before if so asked. ``watched``
        tells whether a module's name is one of the watched.
        """
        me = self._ident()
        if me not in busy:
            return True  # this thread itself has run, on its way to here
        thread, threads, rest = self._before_full if full else self._before
        if thread == me and (_threads() == 1 if threads == 1 else _rest() - rest <= TOLERANCE):
            return False
        if thread and _threads() < threads:
            return True
        return any(
            other not in busy and _goes_round(frame, watched)
            for other, frame in sys._current_frames().items()
        )


def _threads() -> int:
    # Not threading.active_count, which takes a lock.
    return len(getattr(threading, "_active", ()))


def _rest() -> int:
    """Processor time of all the other threads, Python's or not, in nanoseconds."""
    return time.process_time_ns() - time.thread_time_ns()


def _goes_round(frame: FrameType | None, watched: Callable[[object], bool]) -> bool:
    """Whether watched code on this stack is inside a loop: it may have been anywhere in it a moment ago."""
    depth = 0
    while frame is not None and depth < DEPTH:
        if watched(frame.f_globals.get("__name__")) and any(
            start <= frame.f_lasti <= end for start, end in _loops(frame.f_code)
        ):
            return True
        frame, depth = frame.f_back, depth + 1
    return False


_known: dict[CodeType, tuple[tuple[int, int], ...]] = {}


def _loops(code: CodeType) -> tuple[tuple[int, int], ...]:
    """The first and last offset of each loop."""
    found = _known.get(code)
    if found is None:
        if len(_known) > 1024:
            _known.clear()
        found = _known[code] = tuple(
            (jump.argval, jump.offset)
            for jump in dis.get_instructions(code)
            if "JUMP" in jump.opname and type(jump.argval) is int and jump.argval < jump.offset
        )
    return found
