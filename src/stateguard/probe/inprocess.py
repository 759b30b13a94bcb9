"""One exchange with an application in this process: what a server would do, without a socket."""

from __future__ import annotations

import asyncio
import inspect
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from stateguard.errors import StateGuardError
from stateguard.probe.answer import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.probe.answer import Answer
    from stateguard.probe.requests import Template

    Headers = list[tuple[str, str]]

IDLE = 0.5
"""Seconds after which a client that has sent its websocket message, and hears nothing, goes away."""

STARTING = 30.0
"""Seconds that an application may take to start, and to shut down."""


class Lifespan:
    """An ASGI application's start-up and shut-down."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.task: asyncio.Task[Any] | None = None
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._stopped = asyncio.Event()
        self.state: dict[str, Any] = {}

    async def start(self) -> None:
        """Run the start-up. Raises :class:`~stateguard.errors.StateGuardError` when it fails."""
        started = asyncio.Event()
        failure: list[str] = []

        async def send(message: dict[str, Any]) -> None:
            kind = message["type"]
            if kind == "lifespan.startup.failed":
                failure.append(str(message.get("message", "")).strip().rpartition("\n")[2])
            (started if kind.startswith("lifespan.startup") else self._stopped).set()

        async def run() -> None:
            scope = {
                "type": "lifespan",
                "asgi": {"version": "3.0", "spec_version": "2.0"},
                "state": self.state,
            }
            try:
                await self._app(scope, self._messages.get, send)
            except Exception:
                pass  # an application without lifespan support says so by raising
            finally:
                started.set()
                self._stopped.set()

        self._messages.put_nowait({"type": "lifespan.startup"})
        self.task = asyncio.create_task(run())
        try:
            async with asyncio.timeout(STARTING):
                await started.wait()
        except TimeoutError:
            failure.append(f"its lifespan said nothing for {STARTING:g} seconds")
        if failure:
            raise StateGuardError(f"the application failed to start: {failure[0]}")

    async def stop(self) -> None:
        """Run the shut-down; give up on one that does not end."""
        if self.task is None or self.task.done():
            return
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([asyncio.ensure_future(self._stopped.wait()), self.task],
                           timeout=5, return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        self.task.cancel()


async def serve_asgi(
    app: Any,
    request: Template,
    headers: Headers,
    answer: Answer,
    state: dict[str, Any],
    leave: asyncio.Event,
    begun: asyncio.Event | None = None,
) -> None:
    """Serve one request into ``answer``. Once ``leave`` is set, the client has gone.

    ``begun`` is set when the answer begins.

    Suspends at each ``receive`` and ``send``, as a server does for a slow client.
    """
    websocket = request.method == "WS"
    path, _, query = request.path.partition("?")
    body = request.body.encode()
    scope: dict[str, Any] = {
        "type": "websocket" if websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws" if websocket else "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"probe.localhost"),
            *((n.lower().encode("latin-1"), v.encode("utf-8")) for n, v in headers),
        ],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": dict(state),
    }
    if websocket:
        scope["subprotocols"] = []
        incoming: list[dict[str, Any]] = [
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": text} for text in request.texts),
        ]
    else:
        scope["method"] = request.method
        if body:
            scope["headers"].append((b"content-length", str(len(body)).encode()))
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if incoming:
            return incoming.pop(0)
        if websocket:
            await asyncio.sleep(IDLE)
            return {"type": "websocket.disconnect", "code": 1000}
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        kind = message["type"]
        if begun is not None:
            begun.set()
        if kind == "http.response.start":
            answer.status = message["status"]
            for name, value in message.get("headers", ()):
                answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        elif kind == "http.response.body":
            if not answer.full:
                answer.body += message.get("body", b"")
            if not message.get("more_body") or answer.full:
                leave.set()
        elif kind == "websocket.accept":
            answer.status = 101
        elif kind == "websocket.send":
            text = message.get("text")
            if not answer.full:
                answer.messages.append(text.encode() if text is not None else message.get("bytes") or b"")
        elif kind == "websocket.close" and not answer.status:
            answer.status = 403
        await asyncio.sleep(0)

    await app(scope, receive, send)


def serve_wsgi(app: Any, request: Template, headers: Headers, answer: Answer) -> None:
    """Serve one request into ``answer``, on this thread."""
    path, _, query = request.path.partition("?")
    body = request.body.encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "probe.localhost",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value

    def start_response(status: str, fields: Headers, exc_info: Any = None) -> Callable[[bytes], Any]:
        answer.status = int(status.split(maxsplit=1)[0])
        answer.headers = [(name.lower(), value) for name, value in fields]
        return answer.body.extend

    pieces = app(environ, start_response)
    try:
        for piece in pieces:
            answer.body += piece
            if len(answer.body) > LARGEST:
                break
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def protocol_of(app: Any) -> str:
    """``asgi`` or ``wsgi``: ASGI applications take three arguments, or are coroutine functions."""
    called = inspect.getattr_static(type(app), "__call__", None)
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(called):
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return "wsgi"
    return "asgi" if sum(p.default is inspect.Parameter.empty for p in parameters) == 3 else "wsgi"
