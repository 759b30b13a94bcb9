"""The guard as WSGI middleware.

``app.wsgi_app = StateGuardMiddleware(app.wsgi_app, watch=["myapp", "myapp.*"])`` on Flask, or
``application = StateGuardMiddleware(application, watch=[...])`` around any WSGI application. Options are
those of :class:`stateguard.Guard`; ``guard=`` shares one guard between several applications. ``store=``,
``session_id=`` and ``user_id=`` keep sessions between requests: see :func:`stateguard.sessions.bind`.

The guarded request lasts until the body is exhausted or closed. ``environ``, ``start_response``, lists,
file wrappers and everything else pass through as the objects they are; only a body that is produced
piece by piece is wrapped, because code of the application runs at every piece.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any

from stateguard.attribution.request import GuardedRequest, current
from stateguard.errors import ConfigError
from stateguard.guard import Guard
from stateguard.leak import RequestInfo
from stateguard.request_data import RequestData
from stateguard.sessions.binding import bind
from stateguard.sessions.wsgi import WSGISessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Token as VarToken

    from stateguard.scope import Token
    from stateguard.sessions.base import SessionStore
    from stateguard.sessions.binding import OnStoreError
    from stateguard.sessions.identity import Request

ID_LENGTH = 128


class StateGuardMiddleware:
    """See the module's text; ``.guard`` is the guard, ``.app`` the wrapped application."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        *,
        guard: Guard | None = None,
        store: SessionStore | None = None,
        session_id: object = None,
        user_id: Callable[[Request], str | None] | None = None,
        session_log: str | None = "history",
        on_store_error: OnStoreError = "fail",
        **options: Any,
    ) -> None:
        if guard is not None and options:
            raise ConfigError(
                f"give either guard= or options, not both: {', '.join(sorted(options))} would be ignored"
            )
        self.app = app
        self.guard = guard if guard is not None else Guard(**options)
        self.guard.add_app(app)
        binding = bind(
            store,
            session_id,
            user_id=user_id,
            session_factory=self.guard.config.session_factory,
            log=session_log,
            on_store_error=on_store_error,
        )
        self._served: Callable[..., Iterable[bytes]] = app if binding is None else WSGISessions(app, binding)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("app", "guard", "_served"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.app, name)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        guard = self.guard
        if guard.mode == "off":
            return self.app(environ, start_response)
        outer = current.get()
        while outer is not None:
            if outer.active and outer.guard is guard and outer.headers is environ:
                return self.app(environ, start_response)
            outer = outer.outer
        request = _open(guard, environ)
        stretch = _Stretch(request)
        stretch.enter()
        complete = False
        try:
            guard.take_residue(request)
            body = self._served(environ, start_response)
            complete = type(body) in (list, tuple, bytes) or _is_file(body, environ)
        except BaseException:
            complete = True
            raise
        finally:
            # Not in an `except Exception`: GreenletExit and SystemExit end requests as well.
            stretch.leave()
            if complete:
                _finish(request)
        if complete:
            error = guard.violation(request)
            if error is not None:
                _close(body)
                raise error
            return body
        return _Body(body, request)


def _open(guard: Guard, environ: dict[str, Any]) -> GuardedRequest:
    id_ = environ.get("HTTP_X_REQUEST_ID")
    if type(id_) is not str or not 0 < len(id_) <= ID_LENGTH or not (id_.isascii() and id_.isprintable()):
        id_ = guard.new_id()
    path = (environ.get("SCRIPT_NAME") or "") + (environ.get("PATH_INFO") or "")
    info = RequestInfo(id_, "wsgi", environ.get("REQUEST_METHOD") or "", path)
    if guard.watcher is None:
        request = guard.open(info, None)
    else:
        headers = [(k[5:].replace("_", "-"), v) for k, v in environ.items() if k.startswith("HTTP_")]
        data = RequestData(environ.get("QUERY_STRING") or "", headers, environ.get("REMOTE_ADDR") or "")
        data.environ = environ
        request = guard.open(info, data)
    request.headers = environ
    return request


def _finish(request: GuardedRequest) -> None:
    request.guard.check_residue(request)
    request.guard.finish(request)
    request.scope.close()
    if request.data is not None:
        request.data.environ = None


def _is_file(body: Any, environ: dict[str, Any]) -> bool:
    """A body that the server sends by itself, without running the application again."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(body, wrapper):
        return True
    return hasattr(type(body), "fileno")


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


class _Stretch:
    """One entry into the application on this thread: scope and account set before, undone after."""

    __slots__ = ("_mark", "_request", "_token")

    def __init__(self, request: GuardedRequest) -> None:
        self._request = request
        self._mark: VarToken[GuardedRequest | None] | None = None
        self._token: Token | None = None

    def enter(self) -> None:
        self._token = self._request.scope.enter()
        self._mark = current.set(self._request)
        self._request.guard.begin(self._request)

    def leave(self) -> None:
        request = self._request
        request.guard.end(request)
        if self._mark is not None:
            with contextlib.suppress(ValueError):  # this piece ran in another context than the call
                current.reset(self._mark)
            self._mark = None
        if self._token is not None:
            request.scope.leave(self._token)
            self._token = None


class _Body:
    """A body that is produced piece by piece. One ``next`` of ours is one ``next`` of the application's.

    A class, not a generator: a generator that is closed before its first ``next`` would never close the body.
    """

    __slots__ = ("__weakref__", "_body", "_finished", "_iterator", "_request", "_sent", "_stretch", "close")

    def __init__(self, body: Any, request: GuardedRequest) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._request = request
        self._stretch = _Stretch(request)
        self._sent = False
        # A body that nobody exhausts or closes (some adapters never do) must still give its place back.
        self._finished = weakref.finalize(self, _abandoned, request, os.getpid())
        self._finished.atexit = False
        if hasattr(body, "close"):
            self.close = self._close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._stretch.enter()
        done = True
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            piece = next(self._iterator)
            done = False
        finally:
            self._stretch.leave()
            if done:
                self._end()
        if not self._sent:
            error = self._request.guard.violation(self._request)
            if error is not None:
                raise error
            self._sent = bool(piece)
        return piece

    def _close(self) -> None:
        self._stretch.enter()
        try:
            self._body.close()
        finally:
            self._stretch.leave()
            self._end()

    def _end(self) -> None:
        if self._finished.detach() is not None:
            _finish(self._request)


def _abandoned(request: GuardedRequest, pid: int) -> None:
    """The server dropped the body without exhausting or closing it."""
    if pid == os.getpid():
        request.guard.finish(request)
        request.scope.close()
