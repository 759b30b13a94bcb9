"""The guard as WSGI middleware.

``app.wsgi_app = StateGuardMiddleware(app.wsgi_app, watch=["myapp", "myapp.*"])`` on Flask, or
``application = StateGuardMiddleware(application, watch=[...])`` around any WSGI application. Options are
those of :class:`stateguard.Guard`; ``guard=`` shares one guard between several applications. ``store=``,
``session_id=`` and ``user_id=`` keep sessions between requests: see :func:`stateguard.sessions.bind`.

The guarded request lasts until the body is closed, or exhausted if it has no ``close()``: frameworks clean up
in there. ``environ``, ``start_response``, lists,
file wrappers and everything else pass through as the objects they are; only a body that is produced
piece by piece is wrapped, because code of the application runs at every piece. In ``raise`` mode
``start_response`` is wrapped as well, because the ``write`` it returns may send the first byte.
"""

from __future__ import annotations

from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Unpack

from stateguard.attribution.request import GuardedRequest, current
from stateguard.errors import ConfigError
from stateguard.guard import Guard
from stateguard.leak import PATH_LENGTH, RequestInfo
from stateguard.passing import PassingScope
from stateguard.request_data import RequestData
from stateguard.scope import Scope, by_thread, current_scope, entered
from stateguard.way import way
from stateguard.wsgi_bodies import wrapped
from stateguard.wsgi_stretches import PassingStretch, ScopeStretch, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stateguard.options import Options
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
        **options: Unpack[Options],
    ) -> None:
        if guard is not None and options:
            raise ConfigError(
                f"give either guard= or options, not both: {', '.join(sorted(options))} would be ignored"
            )
        self.app = app
        self.guard = guard if guard is not None else Guard(**options)
        self.guard.add_app(app)
        self._served: Callable[..., Iterable[bytes]] = app
        binding = self.guard.bind(store, session_id, user_id, session_log, on_store_error)
        if binding is not None:
            from stateguard.sessions.wsgi import (
                WSGISessions,  # as long to import as the rest, and rarely used
            )

            self._served = WSGISessions(app, binding)
        # What is compiled forgets what came with a request; where values are shown, that is to be left out.
        self._way = None if self.guard.config.show_values else way(self.guard, _identify)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("app", "guard", "_served", "_way"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.app, name)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        short = self._way
        if short is not None:
            body = short.call(self._served, environ, start_response)
            if body is not NotImplemented:
                return body
        guard = self.guard
        if guard.mode == "off":
            return self.app(environ, start_response)
        engine = guard.engine
        shared = opened = None
        if entered.get() is not None or by_thread.used:
            opened = current_scope()
            if opened is not None and any(opened.exchange is mark for mark in _marks(environ)):
                if opened.owner is guard:
                    return self.app(environ, start_response)  # wrapped twice
                if isinstance(opened.owner, Guard) and opened.owner.gives_sessions_like(guard):
                    if engine is None:
                        return self._served(environ, start_response)  # one exchange has one session
                    shared = opened
        if engine is None:  # a session, and nothing else
            scope = guard.open_scope(Scope, _facts(environ, guard), _exchange(environ), opened)
            return self._serve(environ, start_response, ScopeStretch(scope))
        inherited = current.get()
        if (
            engine.passing.open
            and shared is None
            and (inherited is None or not inherited.active)
            and not engine.locals.watched
        ):  # a session, and an eye on when to look more closely
            eyed = guard.open_scope(PassingScope, _facts(environ, guard), _exchange(environ), opened)
            engine.passing.let(eyed, _origin(environ))
            return self._serve(environ, start_response, PassingStretch(eyed, engine))
        around = () if inherited is None else inherited.same_exchange(*_marks(environ))
        if any(request.guard is guard for request in around):
            return self.app(environ, start_response)  # wrapped twice
        request = _open(guard, environ, around[0] if around else None, shared)
        responder = _Responder(start_response, request) if guard.raises else start_response
        return self._serve(environ, responder, Stretch(request))

    def _serve(
        self, environ: dict[str, Any], start_response: Callable[..., Any], stretch: Stretch | ScopeStretch
    ) -> Iterable[bytes]:
        complete = True
        try:
            entry = stretch.enter()
        except BaseException:  # a signal handler's
            stretch.finish()
            raise
        try:
            if type(stretch) is Stretch:
                stretch.note_residue()
            body = self._served(environ, start_response)
            complete = type(body) in (list, tuple, bytes) or _is_file(body, environ)
        finally:
            # Not in an `except Exception`: GreenletExit and SystemExit end requests as well.
            try:
                stretch.leave(entry)
            except BaseException:  # a signal handler's
                complete = True
                raise
            finally:
                if complete:
                    stretch.finish()
        if not complete:
            try:
                return wrapped(body, stretch)
            except BaseException:  # what it says of itself is the application's code
                stretch.finish()
                raise
        if not stretch.silent:
            error = stretch.objection()
            if error is not None:
                _close(body)
                raise error
        return body


def _exchange(environ: dict[str, Any]) -> Any:
    """What tells one exchange from another. Middlewares hand on copies; the input stream survives those."""
    stream = environ.get("wsgi.input")
    return environ if stream is None else stream


def _marks(environ: dict[str, Any]) -> tuple[Any, ...]:
    """All by which an exchange may be known."""
    return environ, _exchange(environ)


def _facts(environ: dict[str, Any], guard: Guard) -> tuple[Any, ...]:
    """What names the request: a function and its arguments. Taken now, for frameworks change the environ; put
    into words when asked for, for most requests are never named.
    """
    get = environ.get
    return (
        _identify,
        guard,
        get("HTTP_X_REQUEST_ID"),
        get("REQUEST_METHOD"),
        get("SCRIPT_NAME"),
        get("PATH_INFO"),
        time(),
    )


def _origin(environ: dict[str, Any]) -> tuple[Any, ...]:
    """What came with the request: the arguments of :class:`RequestData`."""
    return environ.get("QUERY_STRING"), (), environ.get("REMOTE_ADDR"), environ.get("PATH_INFO"), environ


def _open(
    guard: Guard, environ: dict[str, Any], around: GuardedRequest | None, shared: Scope | None
) -> GuardedRequest:
    if around is not None:
        info = partial(getattr, around, "info")
    elif shared is not None:
        info = partial(getattr, shared, "request")
    else:
        name, *known = _facts(environ, guard)
        info = partial(name, *known)
    data = None
    if guard.watcher is not None:
        data = RequestData(*_origin(environ))
    request = guard.open(info, data, around, shared)
    request.headers = environ
    request.stream = environ.get("wsgi.input")
    if not request.shares_scope:
        request.scope.exchange, request.scope.owner = _exchange(environ), guard
    return request


def _identify(guard: Guard, id_: Any, method: Any, script: Any, path: Any, started: float) -> RequestInfo:
    """Which request this is."""
    if type(id_) is not str or not 0 < len(id_) <= ID_LENGTH or not (id_.isascii() and id_.isprintable()):
        id_ = guard.new_id()
    return RequestInfo(id_, "wsgi", str(method or ""), f"{script or ''}{path or ''}"[:PATH_LENGTH], started)


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


class _Responder:
    """``start_response`` in ``raise`` mode: the ``write`` that it returns is where the first byte may leave.

    In the other modes the application is given the server's own object.
    """

    __slots__ = ("_request", "_start_response")

    def __init__(self, start_response: Callable[..., Any], request: GuardedRequest) -> None:
        self._start_response = start_response
        self._request = request

    def __call__(self, *args: Any, **named: Any) -> Any:
        write = self._start_response(*args, **named)
        if write is None:  # some servers give none
            return None
        request = self._request

        def write_if_clean(data: bytes) -> Any:
            if not request.responding:
                if request.guard.engine is not None:
                    request.guard.engine.look_within()
                request.tainted = request.guard.violation(request) or request.tainted
                if request.tainted is not None:
                    raise request.tainted
                request.responding = True
            return write(data)

        return write_if_clean
