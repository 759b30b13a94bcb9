"""Stored sessions for ASGI applications."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from stateguard.errors import SessionError
from stateguard.scope import current_scope
from stateguard.sessions.binding import Held, SessionBinding, answer, forgetting
from stateguard.sessions.identity import from_asgi
from stateguard.sessions.steps import arun, new_mutex

log = logging.getLogger("stateguard.sessions")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LAST_PIECES = {"http.response.pathsend", "http.response.zerocopysend"}


class ASGISessions:
    """An application whose requests have their session loaded and saved; runs inside an entered scope."""

    def __init__(self, app: Callable[..., Awaitable[Any]], binding: SessionBinding) -> None:
        self.app = app
        self.binding = binding

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Any:
        """Serve one connection."""
        if scope.get("type") == "lifespan":
            result = await self.app(scope, receive, send)
            await self._shut_down()
            return result
        current = current_scope()
        if current is None or scope.get("type") not in {"http", "websocket"}:
            return await self.app(scope, receive, send)
        store = self.binding.store
        request = from_asgi(scope)
        try:
            held = await arun(store, self.binding.open(request))
        except SessionError as error:
            if scope["type"] == "http":
                return await _respond(send, error, forgetting(self.binding, request, error))
            return await _close(receive, send, error)
        held.give_to(current)
        try:
            if scope["type"] == "websocket":
                exchange: _Exchange = _WebSocket(held, receive, send)
            else:
                exchange = _Exchange(held, receive, send)
            try:
                result = await self.app(scope, exchange.receive, exchange.send)
            except Exception:
                if exchange.is_abandoned:  # no failure of the application: its client went away
                    try:
                        await exchange.save()
                    except SessionError as error:
                        log.warning("what was said before the client left was not saved: %s", error)
                raise
            if not exchange.is_refused:
                await exchange.save()  # what background tasks have added
        finally:
            if held.checkout.lock_token is not None:
                await arun(store, held.release())
        return result

    async def _shut_down(self) -> None:
        """The server stops: close the connections of its event loop, which nobody else could close later."""
        try:
            await self.binding.store.aclose()
        except (SessionError, OSError) as error:
            log.warning("the session store was not closed cleanly: %s", error)


class _Exchange:
    """The messages of one HTTP exchange, with a save before the response starts and before it ends."""

    def __init__(self, held: Held, receive: Receive, send: Send) -> None:
        self.held = held
        self.receive = receive
        self._send = send
        self.is_refused = False
        self.is_abandoned = False
        self._mutex: Any = None

    async def save(self) -> None:
        if self._mutex is None:
            self._mutex = new_mutex()
        async with self._mutex:  # tasks of one exchange may send, and so save, at the same time
            await arun(self.held.binding.store, self.held.save())

    async def pass_on(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # how a server says that the client is gone
            self.is_abandoned = True
            raise

    async def send(self, message: Message) -> None:
        if self.is_refused:
            return  # the client has got an error in place of this response
        kind = message.get("type")
        if kind == "http.response.start":
            if message.get("status", 200) >= 500:
                self.held.fail()
            try:
                await self.save()
            except SessionError as error:
                self.is_refused = True
                await _respond(self._send, error)
                return
            message = _with_headers(message, self.held)
        elif (kind == "http.response.body" and not message.get("more_body")) or kind in _LAST_PIECES:
            # A failure here is raised: the server cuts the response off, and the client knows.
            await self.save()
        await self.pass_on(message)


class _WebSocket(_Exchange):
    """A websocket: what it has done is saved before it answers, and each time it waits for the client."""

    def __init__(self, held: Held, receive: Receive, send: Send) -> None:
        super().__init__(held, receive, send)
        self._receive = receive
        self.receive = self.save_and_receive
        # The id can only be sent with the handshake, before it is known whether the session will be used.
        held.is_used = True

    async def save_and_receive(self) -> Message:
        await self.save()
        return await self._receive()

    async def send(self, message: Message) -> None:
        if message.get("type") == "websocket.accept":
            if self.held.renewed is not None:
                await self.save()
            message = _with_headers(message, self.held)
        elif self.held.checkout.has_grown():
            # Tokens may be streamed one message each, so this must cost little when nothing has been added.
            await self.save()
        await self.pass_on(message)


def _with_headers(message: Message, held: Held) -> Message:
    headers = list(message.get("headers") or ())
    more = held.response_headers({bytes(name).decode("latin-1").lower() for name, _ in headers})
    if not more:
        return message
    added = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in more]
    return {**message, "headers": [*headers, *added]}


async def _close(receive: Receive, send: Send, error: SessionError) -> None:
    answer(error)
    await receive()  # websocket.connect
    # 1008: policy violation, 1013: try again later (RFC 6455, IANA registry)
    await send({"type": "websocket.close", "code": 1013 if error.status == 503 else 1008})


async def _respond(send: Send, error: SessionError, more: Sequence[tuple[str, str]] = ()) -> None:
    status, body, headers = answer(error)
    raw = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in [*headers, *more]]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
