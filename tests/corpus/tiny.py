"""The least framework that the corpus applications need: routes for ASGI and WSGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler is told of its request."""

    id: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    client: str = ""

    @property
    def user(self) -> str:
        return self.query.get("user", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """A body, and work to do once it has been sent."""

    body: str
    after: Callable[[], Any] | None = None


class Socket:
    """One websocket, accepted."""

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send

    async def hear(self) -> str | None:
        """The next text, or ``None`` when the client has gone."""
        message = await self._receive()
        return message.get("text") if message["type"] == "websocket.receive" else None

    async def say(self, text: str) -> None:
        """Send a text."""
        await self._send({"type": "websocket.send", "text": text})


class Asgi:
    """Handlers are coroutine functions that return a text, an async iterator of texts or a :class:`Reply`."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[..., Any]] = {}
        self.sockets: dict[str, Callable[..., Any]] = {}

    def route(self, path: str) -> Callable[[Any], Any]:
        return lambda handler: self.routes.setdefault(path, handler)

    def socket(self, path: str) -> Callable[[Any], Any]:
        return lambda handler: self.sockets.setdefault(path, handler)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode()))
        request = Request(headers.get("x-request-id", ""), scope["path"], query, scope["client"][0])
        if scope["type"] == "websocket":
            await self._talk(self.sockets[request.path], request, receive, send)
            return
        result = await self.routes[request.path](request)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if isinstance(result, AsyncIterator):
            async for part in result:
                await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        reply = result if isinstance(result, Reply) else Reply(result)
        await send({"type": "http.response.body", "body": reply.body.encode()})
        if reply.after is not None:
            await reply.after()

    @staticmethod
    async def _talk(
        handler: Callable[..., Awaitable[None]], request: Request, receive: Any, send: Any
    ) -> None:
        await receive()
        await send({"type": "websocket.accept"})

        socket = Socket(receive, send)
        await handler(request, socket)


class _Body:
    """An iterable body whose ``close`` runs what is left to do."""

    def __init__(self, parts: Iterable[str], after: Callable[[], Any] | None) -> None:
        self._parts = iter(parts)
        self._source = parts
        self._after = after

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._parts).encode()

    def close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
        if self._after is not None:
            self._after()


class Wsgi:
    """Handlers return a text, an iterator of texts, or a :class:`Reply`."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[..., Any]] = {}

    def route(self, path: str) -> Callable[[Any], Any]:
        return lambda handler: self.routes.setdefault(path, handler)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        client = environ["REMOTE_ADDR"]
        request = Request(environ.get("HTTP_X_REQUEST_ID", ""), environ["PATH_INFO"], query, client)
        result = self.routes[request.path](request)
        start_response("200 OK", [("Content-Type", "text/plain")])
        if isinstance(result, Reply):
            return _Body([result.body], result.after)
        if isinstance(result, str):
            return [result.encode()]
        return _Body(result, None)


def at_once(function: Callable[..., Any], *make: Callable[[], Any]) -> Callable[[str], None]:
    """A plain function that runs a coroutine function which never waits, with what is made for each call."""

    def call(user: str) -> None:
        with suppress(StopIteration):
            function(user, *(each() for each in make)).send(None)

    return call


_running: set[asyncio.Task[Any]] = set()


def spawn(work: Any) -> None:
    """Start a task that may outlive its request, and keep it alive until it is done."""
    task = asyncio.ensure_future(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
