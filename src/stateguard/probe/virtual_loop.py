"""An asyncio loop whose clock stands still while anything can run, and that asks somebody when nothing can.

Time passes only when it is told to: a ``sleep(30)`` costs nothing, and which of two sleeping requests wakes
up first is a decision, not luck. Only public parts of asyncio are overridden: ``time``, ``call_at`` and the
selector, which asyncio asks to wait exactly when no callback is ready.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import threading
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    Events = list[tuple[selectors.SelectorKey, int]]
    Poll = Callable[[float | None], Events]
    Idle = Callable[[float | None, Poll], Events]

Arguments = TypeVarTuple("Arguments")

_wakes_sleeper = getattr(asyncio.futures, "_set_result_unless_cancelled", None)


class _AskingSelector(selectors.DefaultSelector):
    idle: Idle

    def select(self, timeout: float | None = None) -> Events:
        """Wait; but first ask."""
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        return self.idle(timeout, super().select)


class VirtualLoop(asyncio.SelectorEventLoop):
    """``on_idle(timeout, poll)`` is called when no callback is ready; ``poll`` is the real, waiting select.

    It returns what ``poll`` gave it, or an empty list after having made something ready or time pass.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._threads = threading.active_count()
        self._sleepers: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
        self._deadlines: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._selector_asked = _AskingSelector()
        self._selector_asked.idle = self.pass_time
        super().__init__(self._selector_asked)

    def on_idle(self, idle: Idle | None) -> None:
        """Ask ``idle`` from now on; without one, time passes whenever nothing else can happen."""
        self._selector_asked.idle = idle or self.pass_time

    def pass_time(self, timeout: float | None, poll: Poll) -> Events:
        """Where sockets or threads may have something to say, wait as long as they do; else not at all."""
        if timeout is None or self.connected() or threading.active_count() > self._threads:
            started = monotonic()
            events = poll(0.25 if timeout is None else min(timeout, 0.25))
            self.advance(monotonic() - started)
            return events
        self.advance(timeout)
        return []

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass: timers that come due run in the next round."""
        # A little further than asked: what was added up in floating point must not stop short of a timer.
        self._now += max(0.0, seconds) + 1e-9

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio does; sleeps are told from deadlines."""
        handle = super().call_at(when, callback, *args, context=context)
        if callback is _wakes_sleeper and args:
            self._sleepers[args[0]] = when
        else:
            heapq.heappush(self._deadlines, (when, id(handle), handle))
        return handle

    def wakes_at(self, future: Any) -> float | None:
        """When the sleep that awaits ``future`` is over; ``None`` for anything but a sleep."""
        try:
            return self._sleepers.get(future)
        except TypeError:
            return None

    def next_deadline(self) -> float:
        """When the next timer comes due that is no sleep: a timeout, a call_later."""
        while self._deadlines and (self._deadlines[0][2].cancelled() or self._deadlines[0][0] <= self._now):
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def connected(self) -> bool:
        """Whether sockets or pipes are registered beside the loop's own."""
        return len(self._selector_asked.get_map()) > 1
