"""The ledger: what is running on which thread, so that a change has a small, sound set of candidates.

A *stretch* is a piece of code that works for one request without giving way to another on its thread: one
step of a coroutine between two suspensions, one call into a WSGI application, one function handed to a
worker thread. State is checked where a stretch begins and where it ends. Whatever differs then was written
since the previous check, and only the stretches that were running in between can have written it: one of
them, and the accusation is exact; none, and it was code outside any request.
"""

from __future__ import annotations

import _thread
import sys
from typing import TYPE_CHECKING

from stateguard.attribution.clocks import Clocks
from stateguard.attribution.finalizers import Collections
from stateguard.attribution.grip import NOISE, Grip
from stateguard.attribution.outsiders import TOLERANCE, Outsiders
from stateguard.attribution.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.attribution.request import GuardedRequest


def _thread_identity() -> Callable[[], int]:
    """The function that tells real threads apart, also when gevent has replaced the usual one."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        original: Callable[[], int] = monkey.get_original("_thread", "get_ident")
        return original
    return _thread.get_ident


def _able(stack: list[GuardedRequest]) -> list[GuardedRequest]:
    """Who can be writing on a thread: the topmost, or any of those whose tasks take turns unseen."""
    top = stack[-1]
    if not top.unseen:
        return [top]
    # A task that such a block has started runs on top of it, for the same request.
    return list({id(request): request for request in stack if request.unseen}.values())


class Ledger:
    """Running stretches by thread. The caller holds the guard's lock."""

    __slots__ = (
        "_clocks",
        "_doubtful",
        "_earlier",
        "_earlier_full",
        "_grip",
        "_latest",
        "_latest_full",
        "_outsiders",
        "blamed",
        "collections",
        "excused",
        "ident",
        "moment",
        "stacks",
        "waiting",
    )

    def __init__(self) -> None:
        self.ident = _thread_identity()
        self.stacks: dict[int, list[GuardedRequest]] = {}
        """The stretches under way on each thread, the topmost last."""
        self._clocks = Clocks()
        self._grip = Grip(self.ident)
        self._outsiders = Outsiders(self.ident)
        self._doubtful: set[int] = set()
        self.waiting = Waiting(self.ident)
        self.excused: set[int] = set()
        """The threads that :meth:`running` ruled out because they were waiting for their turn to look."""
        self.collections = Collections()
        self._latest: dict[int, int] = {}
        self._earlier: dict[int, int] = {}
        self._latest_full: dict[int, int] = {}
        self._earlier_full: dict[int, int] = {}
        self.moment = 0
        """How many stretches have begun."""
        self.blamed: list[int] = []
        """The threads that :meth:`running` could not rule out when it was last asked."""

    def push(self, request: GuardedRequest) -> None:
        """A stretch of ``request`` begins on this thread; the one below it pauses."""
        thread = self.ident()
        self.moment += 1
        stack = self.stacks.get(thread)
        if stack is None:
            self.stacks[thread] = [request]
            self._clocks.know(thread)
        else:
            stack.append(request)

    def pop(self, request: GuardedRequest) -> None:
        """The stretch of ``request`` on this thread has ended."""
        thread = self.ident()
        stack = self.stacks.get(thread)
        if not stack:
            return
        if len(stack) == 1:
            if stack[0] is request:
                del self.stacks[thread]  # whole: another thread may be reading it
                self._clocks.forget(thread)
            return
        if stack[-1] is request:
            stack.pop()
        else:  # ended out of order: a generator closed elsewhere
            for i in range(len(stack) - 1, -1, -1):
                if stack[i] is request:
                    del stack[i]
                    break

    def about_to_look(self, full: bool = True) -> None:
        """Read the clocks: to be called before each comparison of state, ``full`` or of its hot part.

        A reading from *before* one comparison against one from *after* the next covers all that was written
        between the two, wherever the threads were switched.
        """
        self._earlier = self._latest
        others = len(self.stacks) > 1 or (self.stacks and not self.here())
        self._latest = self._clocks.read(self.stacks) if others else {}
        self._outsiders.about_to_look(full)
        self.waiting.about_to_look(full)
        self._grip.about_to_look(full, others or self._outsiders.crowded)
        self.collections.about_to_look(full)
        if full:
            self._earlier_full = self._latest_full
            self._latest_full = self._latest

    def running(self, alibi: Callable[[int], bool] | None = None, full: bool = False) -> list[GuardedRequest]:
        """The requests that can have written what the comparison has just shown, each once.

        ``alibi`` tells of a thread whether other evidence rules it out. ``full``: what differs is compared by
        full looks only, so that all that has run since the last but one of those counts.
        """
        earlier = self._earlier_full if full else self._earlier
        self.blamed = list(self.stacks)
        self.excused = self.waiting.excused(full)
        if len(self.stacks) == 1 and self.here():
            return _able(next(iter(self.stacks.values())))
        now = self._clocks.read(self.stacks)
        me = self.ident()
        noise = NOISE if self._grip.kept(full) else 0
        found: dict[int, GuardedRequest] = {}
        for thread, stack in list(self.stacks.items()):
            still = thread in now and thread in earlier and now[thread] - earlier[thread] <= noise
            if thread in self.excused or (still and thread != me) or (alibi is not None and alibi(thread)):
                self.blamed.remove(thread)
                continue
            found.update((id(request), request) for request in _able(stack))
        return list(found.values())

    def outsiders(self, watched: Callable[[object], bool], full: bool = False) -> bool:
        """Whether watched code outside any request may have written what the comparison has just shown."""
        if not self._doubtful.isdisjoint(self.blamed) or self.collections.may_have_finalized(full):
            return True
        tolerance = NOISE if self._grip.kept(full) else TOLERANCE
        busy = {*self.stacks, *self.excused} if self.excused else self.stacks
        return self._outsiders.may_have_run(busy, watched, full, tolerance)

    def hear(self, heard: Callable[[], int]) -> None:
        """``heard`` counts the events of watched code on threads without a stretch; -1 if it cannot."""
        self._outsiders.heard = heard

    def doubt(self, begins: bool) -> None:
        """What this thread's stretch seems to do is not its request's doing from here on; or is again."""
        if begins:
            self._doubtful.add(self.ident())
        else:
            self._doubtful.discard(self.ident())

    def holds(self, request: GuardedRequest) -> bool:
        """Whether a stretch of ``request`` is under way on this thread."""
        return request in self.stacks.get(self.ident(), ())

    def here(self) -> bool:
        """Whether a stretch is under way on this thread."""
        return self.ident() in self.stacks

    @property
    def crowded(self) -> bool:
        """Whether stretches are under way on several threads."""
        return len(self.stacks) > 1

    def threads(self) -> dict[int, GuardedRequest]:
        """The request running on each thread."""
        return {thread: stack[-1] for thread, stack in list(self.stacks.items())}

    def clear(self) -> None:
        """Forget everything: after a fork nobody is running."""
        self.stacks.clear()
        self._doubtful.clear()
        self.waiting.clear()
        self._latest, self._earlier = {}, {}
        self._latest_full, self._earlier_full = {}, {}
