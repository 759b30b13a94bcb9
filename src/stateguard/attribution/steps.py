"""Drive a coroutine step by step, with the guard looking before and after each step.

Between two suspensions nothing else runs on an event loop, so what changed between the look before a step
and the look after it was changed by that step (or by another thread, which the ledger knows about).
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from stateguard.attribution import pieces

T = TypeVar("T")
S = TypeVar("S")


@types.coroutine
def drive(
    awaitable: Awaitable[T],
    subject: S,
    begin: Callable[[S], None],
    end: Callable[[S], None],
    value: Any = None,
    thrown: list[BaseException] | None = None,
) -> Generator[Any, Any, T]:
    """Await ``awaitable`` in place, ``begin(subject)`` before every step of it and ``end(subject)`` after.

    Behaves as ``await awaitable`` does: same values, same exceptions, same cancellation; works for any
    awaitable and any event loop, because it never looks at what is yielded. Where it takes over a coroutine
    that is under way, ``value`` is what that is sent first, or ``thrown`` holds what is thrown in.
    """
    coroutine: Any = awaitable if type(awaitable) is types.CoroutineType else awaited(awaitable)
    resume, closing = coroutine.send, None
    if thrown:
        value = thrown.pop()
        if isinstance(value, GeneratorExit):
            closing = value
        else:
            resume = coroutine.throw
    while True:
        # Thrown in from here, not from the handlers below: what the application raises in answer must not
        # get this exception as its context unless the application itself is handling it.
        if closing is not None:
            value = None
            begin(subject)
            try:
                coroutine.close()
            finally:
                end(subject)
            try:
                raise closing
            finally:
                closing = None
        begin(subject)
        try:
            yielded = resume(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            value = None  # an exception thrown in must not hold this frame, which its traceback refers to
            end(subject)
        try:
            value = yield yielded
            resume = coroutine.send
        except GeneratorExit as error:
            closing = error
        except BaseException as error:
            resume, value = coroutine.throw, error


pieces.boundary(drive.__code__)


async def awaited(awaitable: Awaitable[T]) -> T:
    """A coroutine out of anything that may be awaited; the interpreter judges what may."""
    return await awaitable
