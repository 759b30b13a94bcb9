"""The ledger: what is running on which thread, so that a change has a small, sound set of candidates.

A *stretch* is a piece of code that works for one request without giving way to another on its thread: one
step of a coroutine between two suspensions, one call into a WSGI application, one function handed to a
worker thread. State is checked where a stretch begins and where it ends. Whatever differs then was written
since the previous check, and only the stretches that were running in between can have written it: one of
them, and the accusation is exact; none, and it was code outside any request.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest


class Ledger:
    """Running stretches by thread. The caller holds the guard's lock."""

    __slots__ = ("_stacks",)

    def __init__(self) -> None:
        self._stacks: dict[int, list[GuardedRequest]] = {}

    def push(self, request: GuardedRequest) -> None:
        """A stretch of ``request`` begins on this thread; the one below it pauses."""
        thread = get_ident()
        stack = self._stacks.get(thread)
        if stack is None:
            self._stacks[thread] = [request]
        else:
            stack.append(request)

    def pop(self, request: GuardedRequest) -> None:
        """The stretch of ``request`` on this thread has ended."""
        thread = get_ident()
        stack = self._stacks.get(thread)
        if not stack:
            return
        if stack[-1] is request:
            stack.pop()
        else:  # ended out of order: a generator closed elsewhere
            for i in range(len(stack) - 1, -1, -1):
                if stack[i] is request:
                    del stack[i]
                    break
        if not stack:
            del self._stacks[thread]

    def running(self) -> list[GuardedRequest]:
        """The requests with a stretch under way, each once."""
        if len(self._stacks) == 1:
            return [next(iter(self._stacks.values()))[-1]]
        found: dict[int, GuardedRequest] = {}
        for stack in self._stacks.values():
            found[id(stack[-1])] = stack[-1]
        return list(found.values())

    def threads(self) -> dict[int, GuardedRequest]:
        """The request running on each thread."""
        return {thread: stack[-1] for thread, stack in self._stacks.items()}

    def clear(self) -> None:
        """Forget everything: after a fork nobody is running."""
        self._stacks.clear()
