"""The guard as ASGI middleware.

``app.add_middleware(StateGuardMiddleware, watch=["myapp", "myapp.*"])`` on Starlette, FastAPI and others, or
``app = StateGuardMiddleware(app, watch=[...])`` around any ASGI 3 application. Options are those of
:class:`stateguard.Guard`; ``guard=`` shares one guard between several applications. ``store=``,
``session_id=`` and ``user_id=`` keep sessions between requests: see :func:`stateguard.sessions.bind`.

The guarded request lasts until the application returns: streamed body, background tasks and websocket
sessions included. Messages, exceptions, cancellation and back-pressure pass through untouched. Scopes other
than ``http`` and ``websocket`` are forwarded as they are; the baseline is taken when lifespan start-up is
complete, or at the first request.
"""

from __future__ import annotations

import sys
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Unpack

from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.steps import drive
from stateguard.baseline import AT_START_UP
from stateguard.errors import ConfigError
from stateguard.guard import Guard
from stateguard.leak import PATH_LENGTH, RequestInfo
from stateguard.passing import PassingScope
from stateguard.request_data import RequestData
from stateguard.scope import Scope as RequestScope
from stateguard.scope import by_thread, current_scope, entered, leave
from stateguard.short import Door, through
from stateguard.way import way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from stateguard.options import Options
    from stateguard.sessions.base import SessionStore
    from stateguard.sessions.binding import OnStoreError
    from stateguard.sessions.identity import Request

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[Any]]

_STARTS = ("http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start")
"""The messages that begin an answer: from then on the client sees a broken one where the guard raises."""

ID_LENGTH = 128
"""An incoming ``X-Request-ID`` longer than this, or not printable, is not used."""


class StateGuardMiddleware(Door):
    """See the module's text; ``.guard`` is the guard, ``.app`` the wrapped application."""

    def __init__(
        self,
        app: ASGIApp,
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
        if self.guard.config.scope == "thread-local":
            raise ConfigError(
                'scope="thread-local" cannot tell the tasks of an event loop apart: leave it at '
                '"contextvar" for ASGI applications'
            )
        self.guard.add_app(app)
        self._served: ASGIApp = app
        binding = self.guard.bind(store, session_id, user_id, session_log, on_store_error)
        if binding is not None:
            from stateguard.sessions.asgi import (
                ASGISessions,  # as long to import as the rest, and rarely used
            )

            self._served = ASGISessions(app, binding)
        self._way = way(self.guard, _identify)

    def __getattr__(self, name: str) -> Any:
        # The middleware stands where the application stood: `app.state` and the like must still be found.
        if name.startswith("__") or name in ("app", "guard", "_served", "_way"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.app, name)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if through is not None and cls.__call__ is _OWN_CALL:
            through(cls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one connection: guarded if it is a request, forwarded as it is if not.

        Where it is compiled, requests that are as simple as most never come here: see ``_short_asgi.c``.
        """
        guard = self.guard
        kind = scope.get("type")
        if (kind != "http" and kind != "websocket") or guard.mode == "off":  # noqa: PLR1714 (the fastest way)
            return await self._forward(scope, receive, send)
        # Where nothing is compiled, every request comes here. Nothing is called that can be said here: a
        # server's caches have forgotten us, and each function more is fetched from memory again.
        headers = scope.get("headers")
        exchange: Any = headers if type(headers) is list else _exchange(scope)
        engine = guard.engine
        shared = opened = None
        if entered.get() is not None or by_thread.used:
            opened = current_scope()
            if opened is not None and opened.exchange is exchange:
                if opened.owner is guard:
                    return await self.app(scope, receive, send)  # wrapped twice
                if isinstance(opened.owner, Guard) and opened.owner.gives_sessions_like(guard):
                    if engine is None:
                        return await self._served(scope, receive, send)  # one exchange has one session
                    shared = opened
        if engine is None:  # a session, and nothing else
            facts = _facts(scope, guard)
            mine = RequestScope(facts, guard.session_factory, "contextvar", opened, exchange, guard)
            if opened is not None:
                with mine:
                    return await self._served(scope, receive, send)
            here = entered.set(mine)
            try:
                return await self._served(scope, receive, send)
            finally:
                leave(here, mine)
                mine.close()
        inherited = current.get()
        passing = engine.passing
        if (
            passing.open
            and engine.pace.gait == "sparse"
            and shared is None
            and (inherited is None or not inherited.active)
        ):
            # A session, and an eye on when to look more closely.
            facts = _facts(scope, guard)
            eyed = PassingScope(facts, guard.session_factory, "contextvar", opened, exchange, guard)
            origin = scope.get("query_string"), facts[5], scope.get("client"), facts[4]
            if opened is not None:
                with eyed:
                    return await passing.serve(self._served(scope, receive, send), eyed, origin)
            here = entered.set(eyed)
            try:
                return await passing.serve(self._served(scope, receive, send), eyed, origin)
            finally:
                leave(here, eyed)
                eyed.close()
        around: list[GuardedRequest] = [] if inherited is None else inherited.same_exchange(exchange)
        if any(request.guard is guard for request in around):
            return await self.app(scope, receive, send)  # wrapped twice
        request = self._open(scope, exchange, around[0] if around else None, shared)
        token = request.scope.enter()
        mark = current.set(request)
        failed = True
        try:
            if engine is None or engine.watcher is None:
                result = await self._served(scope, receive, send)
            else:
                engine.follow(request)
                if guard.raises:
                    send = _guarding(send, request)
                served = self._served(scope, _noting(receive, request), send)
                result = await drive(served, request, guard.begin, guard.end)
            failed = False
        finally:
            # No await in here: a cancelled trio scope would raise a second time.
            guard.finish(request)
            try:  # noqa: SIM105  (contextlib.suppress takes longer than all else in here)
                current.reset(mark)
            except ValueError:
                pass
            request.scope.leave(token)
            request.close_scope()
        if not failed and not request.responding:
            error = guard.violation(request) or request.tainted
            if error is not None:
                raise error
        return result

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """What is no request, or none of the guard's business."""
        guard = self.guard
        if scope.get("type") != "lifespan":
            return await self.app(scope, receive, send)
        if guard.mode == "on":
            if guard.engine is not None and guard.engine.watcher is not None:
                guard.engine.follow(None)  # what starts up may leave tasks and timers behind
            send = _after_startup(send, guard)
        return await self._served(scope, receive, send)

    def _open(
        self, scope: Scope, exchange: Any, around: GuardedRequest | None, shared: RequestScope | None
    ) -> GuardedRequest:
        guard = self.guard
        facts = _facts(scope, guard)
        info: Any
        if around is not None:
            info = partial(getattr, around, "info")
        elif shared is not None:
            info = partial(getattr, shared, "request")
        else:
            info = partial(facts[0], *facts[1:])
        data = None
        engine = guard.engine
        if engine is not None and engine.watcher is not None:
            app = scope.get("app")
            if app is not None:
                engine.add_app(app)
            engine.locals.adopt()
            data = RequestData(scope.get("query_string"), facts[5], scope.get("client"), facts[4])
        request = guard.open(info, data, around, shared)
        request.headers = exchange
        if not request.shares_scope:
            request.scope.exchange, request.scope.owner = exchange, guard
        return request


_OWN_CALL = StateGuardMiddleware.__call__
"""Who has put another one in its place is to be obeyed."""

if through is not None:
    through(StateGuardMiddleware)


def _facts(scope: Scope, guard: Guard) -> tuple[Any, ...]:
    """What names the request: a function and its arguments. Taken now, for routers change the ASGI scope; put
    into words when asked for, for most requests are never named.
    """
    headers = scope.get("headers")
    if type(headers) is not list and type(headers) is not tuple:
        headers = ()  # the specification allows any iterable: reading a one-shot one would use it up
    return _identify, guard, scope["type"], scope.get("method"), scope.get("path"), headers, time()


def _exchange(scope: Scope) -> Any:
    """What tells one exchange from another: the list of headers, which survives shallow copies of a scope.

    An empty tuple is one object for everybody; then only the scope itself is left.
    """
    headers = scope.get("headers")
    return headers if type(headers) is list or headers else scope


def _identify(guard: Guard, kind: str, method: Any, path: Any, headers: Any, started: float) -> RequestInfo:
    """Which request this is."""
    id_ = None
    for pair in headers:
        if type(pair) in (tuple, list) and len(pair) == 2 and type(pair[0]) is bytes:
            id_ = _sane(pair[1]) if pair[0] == b"x-request-id" else id_
    if not method:
        method = "WEBSOCKET" if kind == "websocket" else ""
    return RequestInfo(id_ or guard.new_id(), kind, str(method), str(path or "")[:PATH_LENGTH], started)


def _sane(value: Any) -> str | None:
    """An incoming request id, unless it could garble a log."""
    if type(value) is not bytes or not 0 < len(value) <= ID_LENGTH:
        return None
    text = value.decode("latin-1")
    return text if text.isascii() and text.isprintable() else None


def _after_startup(send: Send, guard: Guard) -> Send:
    """Take the baseline once the application says that it is ready."""

    async def send_and_start(message: Message) -> None:
        await send(message)
        if _type(message) == "lifespan.startup.complete" and guard.engine is not None:
            guard.engine.baseline.renew(AT_START_UP)

    return send_and_start


def _type(message: Any) -> Any:
    """The type of a message; ``None`` for what is none: it is for the server to say so."""
    return message.get("type") if isinstance(message, dict) else None


def _reports_failure(message: Message) -> bool:
    """Whether the application is answering for an exception of its own, which must not be masked."""
    status = message.get("status", 500)
    return sys.exc_info()[1] is not None and (type(status) is not int or status >= 500)


def _noting(receive: Receive, request: GuardedRequest) -> Receive:
    """Pass messages on, and note what the client sent: a leak of it is the worst kind."""
    data = request.data
    if data is None:
        return receive

    async def receive_and_note() -> Message:
        message = await receive()
        if isinstance(message, dict):
            if "body" in message:
                data.add_body(message["body"])
            elif message.get("type") == "websocket.receive":
                data.add_body(message.get("bytes"))
                text = message.get("text")
                if type(text) is str:
                    data.add_body(text.encode("utf-8", "replace"))
        return message

    return receive_and_note


def _guarding(send: Send, request: GuardedRequest) -> Send:
    """In ``raise`` mode: pass messages on, but not the first one of a request that has leaked."""
    engine = request.guard.engine

    async def send_if_clean(message: Message) -> None:
        if not request.responding:
            start = _type(message) in _STARTS
            if start and engine is not None and not _reports_failure(message):
                engine.look_within()
                request.tainted = request.tainted or request.guard.violation(request)
            if request.tainted is not None:
                raise request.tainted
            request.responding = start
        await send(message)

    return send_if_clean
