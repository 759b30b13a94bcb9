"""Drive a coroutine step by step, with the guard looking before and after each step.

Between two suspensions nothing else runs on an event loop, so what changed between the look before a step
and the look after it was changed by that step (or by another thread, which the ledger knows about).
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest

T = TypeVar("T")


@types.coroutine
def drive(awaitable: Awaitable[T], request: GuardedRequest) -> Generator[Any, Any, T]:
    """Await ``awaitable`` in place, every step of it on the account of ``request``.

    Behaves as ``await awaitable`` does: same values, same exceptions, same cancellation; works for any
    awaitable and any event loop, because it never looks at what is yielded.
    """
    guard = request.guard
    begin, end = guard.begin, guard.end
    begin(request)
    try:
        steps = awaitable.__await__()
        send = getattr(steps, "send", None) or _sender(steps)
        yielded = send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        end(request)
    while True:
        try:
            sent = yield yielded
        except GeneratorExit:
            begin(request)
            try:
                close = getattr(steps, "close", None)
                if close is not None:
                    close()
            finally:
                end(request)
            raise
        except BaseException as error:
            throw = getattr(steps, "throw", None)
            if throw is None:
                raise
            begin(request)
            try:
                yielded = throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            finally:
                end(request)
        else:
            begin(request)
            try:
                yielded = send(sent)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            finally:
                end(request)


def _sender(steps: Any) -> Any:
    """An iterator without ``send`` can only be moved on, as PEP 380 does."""
    return lambda _: next(steps)
