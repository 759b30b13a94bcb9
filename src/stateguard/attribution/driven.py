"""A coroutine whose every step is on a request's account, for tasks that requests start.

To everybody who looks at it (the loop, debuggers, anyio, ``Task.get_stack``) it has the attributes of the
coroutine it drives.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

from stateguard.attribution import pieces

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest


class DrivenCoroutine(Coroutine[Any, Any, Any]):
    """Wraps a coroutine (or a generator that a loop accepts as one) for one request and those around it.

    For no request: each step is noted as a piece of code outside any.
    """

    def __init__(self, coroutine: Any, request: GuardedRequest | None) -> None:
        self._coroutine = coroutine
        self._requests = [] if request is None else request.chain()

    def send(self, value: Any) -> Any:
        """One step."""
        begin(self._requests)
        try:
            return self._coroutine.send(value)
        finally:
            end(self._requests)

    def throw(self, *error: Any) -> Any:
        """One step that begins with an exception: cancellation, mostly."""
        begin(self._requests)
        try:
            return self._coroutine.throw(*error)
        finally:
            end(self._requests)

    def close(self) -> None:
        """The last step."""
        begin(self._requests)
        try:
            self._coroutine.close()
        finally:
            end(self._requests)

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._coroutine.__await__())

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_await, cr_code, __name__, __qualname__: what tools ask a coroutine for.
        return getattr(self.__dict__["_coroutine"], name)

    def __repr__(self) -> str:
        return repr(self._coroutine)


class Abandoned(DrivenCoroutine):
    """The end of an asynchronous generator that was found abandoned: whose it was is not known.

    The loop runs it in the context of whoever was running when the collector or the last reference let go.
    """

    def send(self, value: Any) -> Any:
        """One step, on the account of a request that is suspected and no more."""
        return self._doubtfully(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Likewise."""
        return self._doubtfully(self._coroutine.throw, *error)

    def _doubtfully(self, step: Any, *args: Any) -> Any:
        begin(self._requests)
        ledgers = [request.guard.engine.ledger for request in self._requests]
        for ledger in ledgers:
            ledger.doubt(True)
        try:
            return step(*args)
        finally:
            end(self._requests)
            for ledger in ledgers:
                ledger.doubt(False)


def begin(requests: list[GuardedRequest]) -> None:
    """A stretch begins, for the request of every guard involved; a piece, for those that are not."""
    pieces.begin()
    for request in requests:
        request.guard.begin(request)


def end(requests: list[GuardedRequest]) -> None:
    """The stretch ends, innermost guard first."""
    pieces.end()
    for request in reversed(requests):
        request.guard.end(request)
