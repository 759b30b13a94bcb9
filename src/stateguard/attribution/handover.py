"""Work that a request hands to a thread stays on the request's account.

Executors and the threadpools of anyio and trio run what they are given on threads that know nothing of the
request. While a guard is on, what a request hands them is wrapped on its way in. This covers
``asyncio.to_thread``, ``run_in_executor``, ``asgiref.sync_to_async``, ``anyio.to_thread`` and the synchronous
endpoints of Starlette, which all end in one of these.
"""

from __future__ import annotations

import sys
import threading
from functools import wraps
from typing import TYPE_CHECKING, Any

from stateguard.attribution import outsiders, pieces
from stateguard.attribution.driven import begin, end
from stateguard.attribution.request import GuardedRequest, current

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

_MARK = "_stateguard_original"


def handed(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, run on the account of the request that is current now, or as a piece of no request."""
    if type(function) is Handed:
        return function  # one pool on top of another
    request = current.get()
    if request is not None:
        engine = request.guard.engine
        if engine is None or engine.watcher is None:
            return function
        if engine.resting and request.outer is None and not engine.watcher.graph.locals:
            request = None  # it is one of the suspects already; that a piece has run must be known
    return Handed(function, request)


class Handed:
    """A callable on its way to a worker thread, or to an event loop."""

    __slots__ = ("function", "requests")

    def __init__(self, function: Callable[..., Any], request: GuardedRequest | None) -> None:
        self.function = function
        self.requests = [] if request is None else request.chain()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, as one stretch of each guard's request or as one piece."""
        if not self.requests:
            pieces.begin()
            try:
                return self.function(*args, **kwargs)
            finally:
                pieces.end()
        begin(self.requests)
        held = [request.guard.engine.locals.residue() for request in self.requests]
        try:
            return self.function(*args, **kwargs)
        finally:
            for request, before in zip(self.requests, held, strict=True):
                request.guard.engine.locals.judge(request, before)
            end(self.requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


_undo: list[tuple[Any, str, Any, Any]] = []


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = vars(owner).get(name)
    if original is None or getattr(original, _MARK, None) is not None:
        return
    replacement = make(original)
    setattr(owner, name, replacement)
    _undo.append((owner, name, original, vars(owner)[name]))


def _wrap_submit(original: Any) -> Any:
    @wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return original(self, handed(fn), *args, **kwargs)

    setattr(submit, _MARK, original)
    return submit


def _wrap_start(original: Any) -> Any:
    @wraps(original)
    def start(self: threading.Thread) -> None:
        outsiders.thread_started(self)
        original(self)

    setattr(start, _MARK, original)
    return start


def _wrap_backend(original: Any) -> Any:
    inner = original.__func__

    @wraps(inner)
    async def run_sync_in_worker_thread(
        cls: type, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        return await inner(cls, handed(func), *args, **kwargs)

    setattr(run_sync_in_worker_thread, _MARK, original)
    return classmethod(run_sync_in_worker_thread)


def _wrap_run_sync(original: Any) -> Any:
    @wraps(original)
    async def run_sync(sync_fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await original(handed(sync_fn), *args, **kwargs)

    setattr(run_sync, _MARK, original)
    return run_sync


_POINTS = (
    ("threading", "Thread", "start", _wrap_start),
    ("concurrent.futures.thread", "ThreadPoolExecutor", "submit", _wrap_submit),
    ("anyio._backends._asyncio", "AsyncIOBackend", "run_sync_in_worker_thread", _wrap_backend),
    ("trio.to_thread", None, "run_sync", _wrap_run_sync),
    ("anyio._backends._trio", None, "run_sync", _wrap_run_sync),
)

_loaded: set[str] = set()


def follow_threads() -> None:
    """Follow work into threads; cheap to call again, which takes in what has been imported since."""
    for module, owner, name, make in _POINTS:
        if module in _loaded or module not in sys.modules:
            continue
        _loaded.add(module)
        found = sys.modules[module]
        target = found if owner is None else getattr(found, owner, None)
        if target is not None:
            _replace(target, name, make)


def unfollow_threads() -> None:
    """Put back everything that :func:`follow_threads` replaced, where it is still ours."""
    for owner, name, original, ours in reversed(_undo):
        if vars(owner).get(name) is ours:
            setattr(owner, name, original)
    _undo.clear()
    _loaded.clear()
