"""Whether code outside every request may have run: background loops, timers, code around the guard.

A request that runs alone among requests is not alone in its process. Before it is accused, every other thread
must have an alibi: it has used no processor time since the comparison before, or it is one of those of which
it is known what they run.

On a free-threaded build other threads go on while their alibis are asked for. What a stack shows must not be
looked at then, so that it excuses nobody; and the time of the whole process is not up to date while threads
run, so that the clock of each of them is read, and has to have stood still.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from stateguard.attribution import pieces
from stateguard.attribution.server_threads import began_in_server, serves
from stateguard.parallel import PARALLEL, stacks

if TYPE_CHECKING:
    from collections.abc import Callable, Container

TOLERANCE = 0 if PARALLEL else 2_000
"""Nanoseconds by which the process's clock less the thread's own may seem to move while no other thread
runs: they are not read at the same instant. A thread that wakes and takes the interpreter lock needs more.
Where there is no such lock, a thread that runs anyway needs next to nothing, and has to have stood still."""

UNEXPLAINED = 10_000
"""Nanoseconds of the process's time that may seem to be nobody's: the clocks are not read at one instant."""

MANY = 128
"""Threads beyond which the clock of each is not read: then nobody has an alibi unless all were still."""


class _Known(NamedTuple):
    """One thread, as it was before a comparison."""

    ident: int
    used: int
    """Processor time in nanoseconds; -1 where it cannot be read."""
    server: bool
    """Whether a server started it."""
    piece: int
    """The latest piece of application code that had begun on it outside any request."""


class _Reading(NamedTuple):
    """All threads, as they were before a comparison."""

    thread: int = 0
    """The one that read."""
    threads: int = 0
    started: int = 0
    heard: int = -1
    """Events of watched code on threads without a stretch that a tracer had reported; -1 without a tracer."""
    rest: float = 0
    """Processor time of all threads but the reading one."""
    total: int = 0
    """Processor time of the whole process; on a free-threaded build, of the threads that began without the
    module ``threading``."""
    known: dict[int, _Known] = {}
    """By native identity, which is not given to the next thread at once."""


class Outsiders:
    """Keeps the readings of one guard. The caller holds the guard's lock."""

    __slots__ = ("_before", "_before_full", "_ident", "_now", "_now_full", "heard")

    def __init__(self, ident: Callable[[], int]) -> None:
        self._ident = ident
        self.heard: Callable[[], int] = lambda: -1
        """How many events of watched code a tracer of all threads has reported outside stretches."""
        self._before = self._now = _Reading()
        self._before_full = self._now_full = _Reading()

    def about_to_look(self, full: bool = True) -> None:
        """To be called before each comparison of state, ``full`` or of its hot part."""
        self._before = self._now
        self._now = self._read()
        if full:
            self._before_full, self._now_full = self._now_full, self._now

    @property
    def crowded(self) -> bool:
        """Whether there was more than one thread before the comparison."""
        return self._now.threads > 1

    def _read(self) -> _Reading:
        me, threads = self._ident(), _threads()
        if len(threads) == 1:
            # One thread now and one at the next comparison: what ran in between was started by that thread.
            return _Reading(me, 1)
        rest, last = _rest(), self._now
        if last.thread == me and last.threads == len(threads) and rest - last.rest <= TOLERANCE:
            return last  # nobody else has run since
        known = {}
        total = _total(threads)
        if len(threads) <= MANY:
            latest = pieces.latest
            for ident, thread in threads.items():
                native = getattr(thread, "native_id", None)
                if native is not None:
                    known[native] = _Known(ident, _used(native), serves(thread), latest.get(ident, 0))
        return _Reading(me, len(threads), _started.total, self.heard(), rest, total, known)

    def may_have_run(
        self,
        busy: Container[int],
        watched: Callable[[object], bool],
        full: bool = False,
        tolerance: int = TOLERANCE,
    ) -> bool:
        """Whether application code that works for none of the ``busy`` threads' requests may have run.

        The time meant is that since the comparison before, the ``full`` one before if so asked. ``watched``
        tells whether a module's name is one of the watched, ``tolerance`` how many nanoseconds of processor
        time prove nothing.
        """
        me = self._ident()
        if me not in busy:
            return True  # this thread itself has run, on its way to here
        before = self._before_full if full else self._before
        threads = _threads()
        if before.thread == me and (
            len(threads) == 1 if before.threads == 1 else _rest() - before.rest <= TOLERANCE
        ):
            return False
        # A tracer that hears of all threads: what it has not heard of, watched code has not done.
        silent = before.heard >= 0 and before.heard == self.heard()
        frames = stacks()
        left = set(before.known)
        came = 0
        unexplained = _total(threads) - before.total
        for ident, thread in threads.items():
            native = getattr(thread, "native_id", None)
            then = before.known.get(native) if native is not None else None
            frame = frames.pop(ident, None)
            if then is None:
                came += not serves(thread)
            else:
                left.discard(native)
                used = _used(native) - then.used
                if not PARALLEL:
                    unexplained -= used
            if ident == me or ident in busy:
                continue
            if then is not None and then.used >= 0 and used <= tolerance:
                continue
            # The tracer itself knows who is inside of such code where no stack may be looked at.
            if silent and (PARALLEL or not pieces.in_watched_code(frame, watched)):
                continue
            if not pieces.idle(ident, thread, frame, 0 if then is None else then.piece, watched):
                return True
        # Those that have ended, and those that began and ended meanwhile.
        if silent:
            return False
        if not all(before.known[native].server for native in left):
            return True
        if before.threads > 1 and _started.total - before.started > came:
            return True
        # Threads that began without the module `threading` have no clock that is known to be theirs.
        return (unexplained != 0 if PARALLEL else unexplained > max(tolerance, UNEXPLAINED)) and any(
            ident not in busy and not began_in_server(frame) for ident, frame in frames.items()
        )


class _Started:
    """How many threads have been started, but for those of servers. Counted while a guard is on."""

    total = 0


_started = _Started()


def thread_started(thread: threading.Thread) -> None:
    """A thread is being started."""
    if not serves(thread):
        _started.total += 1


def _threads() -> dict[int, Any]:
    """The running threads by identity. Not ``threading.enumerate``, which takes a lock."""
    return dict(getattr(threading, "_active", ()))


def _rest() -> float:
    """Processor time of all the other threads, Python's or not, in nanoseconds."""
    return time.process_time_ns() - time.thread_time_ns()


def _not_known() -> float:
    """The same where they may be running: what they have used since they began to is not in there yet."""
    return nan  # which is no more and no less than anything


def _process(threads: dict[int, Any]) -> int:
    """Processor time of the whole process."""
    return time.process_time_ns()


def _strangers(threads: dict[int, Any]) -> int:
    """Processor time of all threads but these, up to date; another one each time where that is not to be
    had."""
    known = {getattr(thread, "native_id", None) for thread in threads.values()}
    try:
        natives = [int(name) for name in os.listdir("/proc/self/task")]
    except (OSError, ValueError):
        return time.perf_counter_ns()
    return sum(_used(native) for native in natives if native not in known)


_total = _process
if PARALLEL:
    _rest, _total = _not_known, _strangers


def _used(native: int | None) -> int:
    """Processor time of the thread that the system knows by that number; -1 where that is not to be had.

    Safe for a thread that has ended, which ``time.pthread_getcpuclockid`` is not.
    """
    if native is None or sys.platform != "linux":
        return -1
    try:
        return time.clock_gettime_ns((~native << 3) | 6)  # CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED
    except OSError:
        return -1
