"""Line tracing on free-threaded builds: which threads are inside watched code that works for no request.

Where there is an interpreter lock, a look at a thread's stack tells. Here it must not be looked at, and a
line that somebody has begun before one comparison may write before the next without another event in between.
So it is kept who has begun a line outside any request, until the last watched function there has returned.
What has been under way since before the tracer was there, on one and the same line, is overlooked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stateguard.attribution.finder import Finder
from stateguard.attribution.lines import caller

if TYPE_CHECKING:
    from types import FrameType


class ParallelFinder(Finder):
    """Follows lines for one guard, on threads that run at the same instant."""

    __slots__ = ("_inside",)

    def __init__(self, *args: Any, **options: Any) -> None:
        self._inside: set[int] = set()
        super().__init__(*args, **options)

    def enter(self) -> None:
        """A stretch begins on this thread: from here on it is on the ledger."""
        super().enter()
        self._inside.discard(self._ledger.ident())

    def leave(self) -> None:
        """The stretch on this thread has ended; the line that has called it may go on."""
        if self.armed and caller(sys._getframe(), self.traces) is not None:
            self._inside.add(self._ledger.ident())
        super().leave()

    def disarm(self) -> None:
        """As of any finder; nobody says any more who leaves."""
        super().disarm()
        self._inside.clear()

    def line_event(self, frame: FrameType, line: int | None) -> None:
        """As of any finder."""
        if self.traces(frame.f_code) and not self._ledger.here():
            thread = self._ledger.ident()
            if line is not None or caller(frame.f_back, self.traces) is not None:
                self._inside.add(thread)
            else:
                self._outside += 1  # first: see `heard`
                self._inside.discard(thread)
        super().line_event(frame, line)

    def heard(self) -> int:
        """As of any finder; -1 while another thread is inside of such code. Who leaves has counted before."""
        return -1 if self._inside - {self._ledger.ident()} else super().heard()
