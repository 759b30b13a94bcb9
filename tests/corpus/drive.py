"""Run a script against an application in this process: real tasks for ASGI, real threads for WSGI."""

from __future__ import annotations

import asyncio
import io
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any
from urllib.parse import unquote

from tests.corpus import gate
from tests.corpus.case import Req

LIMIT = 30.0
"""Seconds that one script may take."""


def run(protocol: str, app: Any, script: Sequence[Req]) -> dict[str, str]:
    """Serve the script; return each request's outcome by id: ``"200"``, or the error's name."""
    if protocol == "asgi":
        return asyncio.run(_run_asgi(app, script))
    return _run_wsgi(app, script)


# -- ASGI ------------------------------------------------------------------------------------------


def _scope(request: Req) -> dict[str, Any]:
    path, _, query = request.target.partition("?")
    scope: dict[str, Any] = {
        "type": "http" if request.sends is None else "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http" if request.sends is None else "ws",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"corpus.test"), (b"x-request-id", request.id.encode())],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 80),
    }
    if request.sends is None:
        scope["method"] = "GET"
    else:
        scope["subprotocols"] = []
    return scope


async def call_asgi(app: Any, request: Req) -> str:
    """Serve one HTTP exchange or websocket session; the status that was sent, or the error that came out."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    if request.sends is None:
        incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    else:
        incoming.put_nowait({"type": "websocket.connect"})
        for text in request.sends:
            incoming.put_nowait({"type": "websocket.receive", "text": text})
        incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
    status = "no response"

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = str(message["status"])
        elif message["type"] == "websocket.accept":
            status = "200"
        await asyncio.sleep(0)

    try:
        await app(_scope(request), incoming.get, send)
    except Exception as error:
        return type(error).__name__
    return status


async def _run_asgi(app: Any, script: Sequence[Req]) -> dict[str, str]:
    outcomes: dict[str, str] = {}

    async def serve(request: Req) -> None:
        held = gate.arm(request.id) if request.during else None
        task = asyncio.create_task(call_asgi(app, request))
        if held is not None:
            while not held.entered.is_set() and not task.done():
                await asyncio.sleep(0.001)
            for inner in request.during:
                await serve(inner)
            held.released.set()
        outcomes[request.id] = await task
        gate.disarm(request.id)

    async with asyncio.timeout(LIMIT):
        for request in script:
            await serve(request)
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=1)
    return outcomes


# -- WSGI ------------------------------------------------------------------------------------------


class _Worker(threading.Thread):
    """A server's worker thread: it lives on, and serves one request after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jobs: queue.SimpleQueue[tuple[Callable[[], str], Future[str]] | None] = queue.SimpleQueue()
        self.start()

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            work, future = job
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

    def submit(self, work: Callable[[], str]) -> Future[str]:
        future: Future[str] = Future()
        self.jobs.put((work, future))
        return future


def call_wsgi(app: Any, request: Req) -> str:
    """Serve one exchange on this thread; the status that was sent, or the error that came out."""
    path, _, query = request.target.partition("?")
    status = "no response"

    def start_response(line: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        nonlocal status
        status = line.split()[0]
        return lambda data: None

    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": query,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "corpus.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "corpus.test",
        "HTTP_X_REQUEST_ID": request.id,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    try:
        body = app(environ, start_response)
        try:
            for part in body:
                assert isinstance(part, bytes)
        finally:
            if hasattr(body, "close"):
                body.close()
    except Exception as error:
        return type(error).__name__
    return status


def _run_wsgi(app: Any, script: Sequence[Req]) -> dict[str, str]:
    outcomes: dict[str, str] = {}
    workers: list[_Worker] = []

    def serve(request: Req, depth: int) -> None:
        if depth == len(workers):
            workers.append(_Worker())
        held = gate.arm(request.id) if request.during else None
        future = workers[depth].submit(lambda: call_wsgi(app, request))
        if held is not None:
            while not held.entered.wait(0.01) and not future.done():
                pass
            for inner in request.during:
                serve(inner, depth + 1)
            held.released.set()
        outcomes[request.id] = future.result(LIMIT)
        gate.disarm(request.id)

    try:
        for request in script:
            serve(request, 0)
    finally:
        for worker in workers:
            worker.jobs.put(None)
        for worker in workers:
            worker.join(LIMIT)
    return outcomes
