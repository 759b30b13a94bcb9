"""A request while it is being served, as the engine sees it."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stateguard.leak import Leak, RequestInfo
    from stateguard.request_data import RequestData
    from stateguard.scope import Scope


class GuardedRequest:
    """One unit of work under guard. Lives as long as the request, and with the tasks that outlive it.

    ``headers`` is the identity of the exchange: an inner middleware that sees the same list serves the same
    request. ``outer`` is the request of another guard around it, or of the code that called a test client.
    """

    # Defaults live on the class: most requests never need more than the six that are set for each.
    shares_scope = False
    """Whether the scope is that of another guard around the same exchange, which closes it."""
    active = True
    responding = False
    """Whether the first byte of the response may have left."""
    tainted: BaseException | None = None
    """Raised in place of the response: nothing that the application still sends leaves."""
    headers: Any = None
    mark: Any = None
    """What gives back :data:`current` where a request that was let pass has been taken up."""
    task: Any = None
    """The trio task that called the middleware."""
    unseen = False
    """Whether this is a block of code in a task: nobody sees when the task gives way to others."""
    stream: Any = None
    """The input stream of a WSGI request, by which copies of its environ are known."""
    residue: dict[int, dict[str, Any]] | None = None
    violations: Sequence[Leak] = ()
    """Exact leaks that ``on_leak="raise"`` has yet to raise."""

    def __init__(
        self,
        guard: Any,
        info: RequestInfo | Callable[[], RequestInfo],
        data: RequestData | None,
        scope: Scope,
        outer: GuardedRequest | None,
    ) -> None:
        self.guard = guard
        self._info = info
        self.data = data
        self.scope = scope
        self.outer = outer
        self.first_hashes: dict[str, tuple[str, Leak, int]] = {}
        """What each changed path held before this request touched it, and when: to notice that it was put
        back."""

    @property
    def info(self) -> RequestInfo:
        """Which request this is. Made when first asked for: most requests never are."""
        found = self._info
        if callable(found):
            found = self._info = found()
        return found

    def same_exchange(self, *marks: Any) -> list[GuardedRequest]:
        """This request and those around it that are under way and serve the exchange with one of ``marks``.

        Nearest first. Servers may start a request in a copy of the previous one's context, and a test client
        may be used inside a request: that a request is found here does not mean that this is it.
        """
        found = []
        request: GuardedRequest | None = self
        while request is not None:
            if request.active and any(request.headers is m or request.stream is m for m in marks):
                found.append(request)
            request = request.outer
        return found

    def close_scope(self) -> None:
        """End the scope with the request that opened it."""
        if not self.shares_scope:
            self.scope.close()

    def chain(self) -> list[GuardedRequest]:
        """This request and the ones it runs inside of under other guards, outermost first."""
        found: list[GuardedRequest] = []
        request: GuardedRequest | None = self
        while request is not None:
            if all(request.guard is not other.guard for other in found):
                found.append(request)
            request = request.outer
        found.reverse()
        return found


def in_a_task() -> bool:
    """Whether the running code is part of a task, which may give way to others at any ``await``."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        return True
    return trio is not None and bool(trio.lowlevel.in_trio_run())


current: ContextVar[GuardedRequest | None] = ContextVar("stateguard_request", default=None)
"""The request that the running code works for. Tasks, and threads that are handed a context, inherit it."""
