"""Whose turn it is to look: a lock under which nothing of the application's is let go of.

Looking replaces what was remembered of objects, which may be the last thing to refer to some. Their
finalizers are application code, and may wait for a lock that a thread holds which waits for its turn. So what
is discarded under the lock is kept until it has been released.

The lock is the interpreter's own, entered and left by ``with``: no Python code runs between taking it and
being sure to give it back, so that an exception which a signal handler raises cannot keep it for ever.
"""

from __future__ import annotations

import os.path
import re
import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.parallel import PARALLEL, stacks

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Protocol

    class Queue(Protocol):
        """Keeps note of the threads that wait."""

        def begin(self) -> None:
            """This thread waits from here on."""
            ...

        def give_up(self) -> None:
            """This thread waits no more, and it has not been its turn."""
            ...


_PACKAGE = os.path.dirname(__file__)


class Turn:
    """A reentrant lock, and what is to be let go of once it has been released."""

    __slots__ = ("around", "discarded", "lock", "queued")

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        self.discarded: list[Any] = []
        """Held until the next :meth:`let_go`."""
        self.around: Callable[[bool], None] | None = None
        """Is told of the beginning and the end of letting go of what was discarded, the next time."""
        self.queued = 0
        """Nanoseconds that threads have waited for their turn, for whoever takes account of it."""

    def take(self, timeout: float, queue: Queue) -> Any:
        """Wait for the turn, at most ``timeout`` seconds: the lock, to be released, or ``None``.

        ``queue`` is told of it if there is any waiting. With 0, there is none.

        A lock that nobody can give back any more is replaced: its thread is gone, or runs none of our code.
        """
        lock = self.lock
        if lock.acquire(blocking=False):
            return lock
        if not timeout:
            return None
        queue.begin()
        began = perf_counter_ns()
        try:
            if lock.acquire(timeout=timeout):
                self.queued += perf_counter_ns() - began
                return lock
        except BaseException:  # a signal handler's
            queue.give_up()
            if lock._is_owned():
                lock.release()
            raise
        queue.give_up()
        owner = re.search(r"owner=(\d+)", repr(lock))  # the only place that tells
        if owner and lock is self.lock and not _may_give_back(int(owner[1])):
            self.lock = threading.RLock()
        return None

    def discard(self, what: Any) -> None:
        """Hold on to ``what`` until the turn has ended."""
        self.discarded.append(what)

    def let_go(self) -> None:
        """Let go of what was discarded, unless this thread's turn goes on further out."""
        if not self.lock._is_owned():
            around = self.around
            if around is None:
                self.discarded = []
                return
            around(True)
            try:
                self.around = None
                self.discarded = []
            finally:
                around(False)


def _may_give_back(thread: int) -> bool:
    found = stacks()
    if PARALLEL:
        # What it runs cannot be told; a signal handler, which may end a turn badly, runs on one thread alone.
        return thread in found and thread != threading.main_thread().ident
    frame: FrameType | None = found.get(thread)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False
