"""Threads that wait for their turn to look: none of the application's code runs on them meanwhile.

Whoever wrote something may have to wait before the guard looks on its thread, and the thread whose turn it is
sees the change first. It has itself been waiting all along, perhaps, and so have others: a thread that began
to wait before the comparison before last is ruled out, whatever its line was and however busy its clock.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from stateguard.attribution.greenlets import switching
from stateguard.parallel import PARALLEL
from stateguard.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

_TAKING = Turn.take.__code__


class Waiting:
    """Who waits, and since which comparison. Written to without the guard's lock, read under it."""

    __slots__ = ("_full", "_ident", "_looks", "_mine", "_since")

    def __init__(self, ident: Callable[[], int]) -> None:
        self._ident = ident
        self._looks = self._full = 0
        self._since: dict[int, tuple[int, int]] = {}
        self._mine: tuple[int, tuple[int, int]] | None = None

    def begin(self) -> None:
        """This thread waits from here on."""
        # Read first: comparisons that begin before it is noted only make the wait look longer than the
        # note says, and nothing of the application runs any more.
        self._since[self._ident()] = (self._looks, self._full)

    def give_up(self) -> None:
        """This thread goes on without having looked."""
        self._since.pop(self._ident(), None)

    def over(self) -> None:
        """It is this thread's turn; the lock is held."""
        if self._since:
            me = self._ident()
            since = self._since.pop(me, None)
            self._mine = None if since is None else (me, since)

    def done(self) -> None:
        """The turn ends: the application goes on. The lock is held."""
        self._mine = None

    def about_to_look(self, full: bool) -> None:
        """To be called before each comparison of state, ``full`` or of its hot part."""
        self._looks += 1
        self._full += full

    def excused(self, full: bool) -> set[int]:
        """The threads on which nothing has run since the comparison before, the ``full`` one if so asked.

        To be asked after a comparison, and before the next.
        """
        found: set[int] = set()
        if switching():
            return found  # another greenlet may have run on the thread of one that waits
        frames = None
        waiting = list(self._since.items())
        if self._mine is not None:
            waiting.append(self._mine)
        for thread, (looks, fully) in waiting:
            # One that was under way when the wait began may have been past what had been written.
            if (self._full - fully if full else self._looks - looks) < 2:
                continue
            if self._mine is None or thread != self._mine[0]:
                if PARALLEL:  # its stack must not be looked at, but where signal handlers run is known
                    if thread == threading.main_thread().ident:
                        continue
                    found.add(thread)
                    continue
                frames = sys._current_frames() if frames is None else frames
                frame = frames.get(thread)
                if frame is None or frame.f_code is not _TAKING:
                    continue  # a signal handler runs, or what one has raised has ended the wait
            found.add(thread)
        return found

    def clear(self) -> None:
        """Forget everybody: after a fork nobody waits."""
        self._since.clear()
        self._mine = None
