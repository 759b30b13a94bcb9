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

import contextlib
from typing import TYPE_CHECKING, Any

from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.steps import drive
from stateguard.errors import ConfigError
from stateguard.guard import Guard
from stateguard.leak import RequestInfo
from stateguard.request_data import RequestData
from stateguard.sessions.asgi import ASGISessions
from stateguard.sessions.binding import bind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from stateguard.sessions.base import SessionStore
    from stateguard.sessions.binding import OnStoreError
    from stateguard.sessions.identity import Request

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[Any]]

_STARTS = frozenset({"http.response.start", "websocket.accept"})

ID_LENGTH = 128
"""An incoming ``X-Request-ID`` longer than this, or not printable, is not used."""


class StateGuardMiddleware:
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
        **options: Any,
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
        binding = bind(
            store,
            session_id,
            user_id=user_id,
            session_factory=self.guard.config.session_factory,
            log=session_log,
            on_store_error=on_store_error,
        )
        self._served: ASGIApp = app if binding is None else ASGISessions(app, binding)

    def __getattr__(self, name: str) -> Any:
        # The middleware stands where the application stood: `app.state` and the like must still be found.
        if name.startswith("__") or name in ("app", "guard", "_served"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one connection: guarded if it is a request, forwarded as it is if not."""
        guard = self.guard
        kind = scope.get("type")
        if kind not in ("http", "websocket") or guard.mode == "off":
            if kind == "lifespan" and guard.mode == "on":
                return await self.app(scope, receive, _after_startup(send, guard))
            return await self.app(scope, receive, send)
        outer = current.get()
        headers = scope.get("headers") or ()
        while outer is not None:
            # The same exchange, seen by a second copy of the middleware: the list of headers is its identity.
            if outer.active and outer.guard is guard and outer.headers is headers:
                return await self.app(scope, receive, send)
            outer = outer.outer
        request = self._open(scope, headers)
        token = request.scope.enter()
        if guard.watcher is None:
            try:
                return await self._served(scope, receive, send)
            finally:
                request.scope.leave(token)
                request.scope.close()
        mark = current.set(request)
        guard.follow(request)
        failed = True
        try:
            served = self._served(scope, _noting(receive, request), _guarding(send, request))
            result = await drive(served, request)
            failed = False
        finally:
            # No await in here: a cancelled trio scope would raise a second time.
            guard.finish(request)
            with contextlib.suppress(ValueError):
                current.reset(mark)
            request.scope.leave(token)
            request.scope.close()
            if not failed and not request.responding:
                error = guard.violation(request)
                if error is not None:
                    raise error
        return result

    def _open(self, scope: Scope, headers: Any) -> GuardedRequest:
        guard = self.guard
        id_ = None
        for name, value in headers:
            if name == b"x-request-id":
                id_ = _sane(value)
        kind = scope["type"]
        method = scope.get("method") or ("WEBSOCKET" if kind == "websocket" else "")
        info = RequestInfo(id_ or guard.new_id(), kind, method, scope.get("path") or "")
        if guard.watcher is None:
            return guard.open(info, None)
        app = scope.get("app")
        if app is not None:
            guard.add_app(app)
        client = scope.get("client")
        query = scope.get("query_string") or b""
        data = RequestData(
            query.decode("latin-1") if isinstance(query, bytes) else str(query),
            headers,
            str(client[0]) if client else "",
        )
        guard.adopt_thread()
        request = guard.open(info, data)
        request.headers = headers
        return request


def _sane(value: Any) -> str | None:
    """An incoming request id, unless it could garble a log."""
    if not isinstance(value, bytes) or not 0 < len(value) <= ID_LENGTH:
        return None
    text = value.decode("latin-1")
    return text if text.isascii() and text.isprintable() else None


def _after_startup(send: Send, guard: Guard) -> Send:
    """Take the baseline once the application says that it is ready."""

    async def send_and_start(message: Message) -> None:
        await send(message)
        if message.get("type") == "lifespan.startup.complete":
            guard.start()

    return send_and_start


def _noting(receive: Receive, request: GuardedRequest) -> Receive:
    """Pass messages on, and note what the client sent: a leak of it is the worst kind."""
    data = request.data

    async def receive_and_note() -> Message:
        message = await receive()
        if data is not None and "body" in message:
            data.add_body(message["body"])
        elif data is not None and message.get("type") == "websocket.receive":
            text = message.get("text")
            data.add_body(text.encode("utf-8", "replace") if text else message.get("bytes"))
        return message

    return receive_and_note


def _guarding(send: Send, request: GuardedRequest) -> Send:
    """Pass messages on; in ``raise`` mode, not the first one of a request that has leaked."""
    guard = request.guard

    async def send_if_clean(message: Message) -> None:
        if not request.responding:
            if guard.raises and message.get("type") in _STARTS:
                guard.look_within(request)
                error = guard.violation(request)
                if error is not None:
                    request.tainted = error
            if request.tainted is not None:
                raise request.tainted
            if message.get("type") in _STARTS:
                request.responding = True
        await send(message)

    return send_if_clean
