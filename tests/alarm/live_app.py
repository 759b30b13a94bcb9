"""An application that leaks, with the live page mounted beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from stateguard import Guard
from tests.alarm import state

TOKEN = "a-token-that-is-long-enough"


async def _chat(request: Request) -> PlainTextResponse:
    state.HISTORY.append(request.query_params["say"])
    return PlainTextResponse("ok")


def _wsgi_chat(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    state.HISTORY.append(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


@contextmanager
def asgi_site(guard: Guard) -> Iterator[str]:
    """Served by uvicorn; the page is at ``/stateguard/``."""
    page = Mount("/stateguard", guard.dashboard(token=TOKEN))
    app = guard.asgi(Starlette(routes=[Route("/chat", _chat), page]))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.02)
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def wsgi_site(guard: Guard) -> Iterator[str]:
    """Served by wsgiref."""
    page = guard.dashboard(token=TOKEN, interface="wsgi")
    app = guard.wsgi(DispatcherMiddleware(_wsgi_chat, {"/stateguard": page}))
    with make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(20)
