"""The applications that ``benchmarks/request.py`` measures, and the state that the guard watches in them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from stateguard import Guard
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

WATCHED_GLOBALS = 200
for number in range(WATCHED_GLOBALS):
    # Half lists, half dictionaries: 10 strings each, as a service's tables and registries are.
    row = [f"value {number}.{index}" for index in range(10)]
    globals()[f"STATE_{number:03d}"] = row if number % 2 else dict(zip(map(str, range(10)), row, strict=True))

OBJECTS = int(os.environ.get("BENCHMARK_OBJECTS", "0"))
HISTORIES: dict[str, list[dict[str, str]]] = {}
"""Also watched: so many objects that never change, as a service's caches and conversations."""
if OBJECTS:
    from benchmarks.check import chat_histories

    HISTORIES.update(chat_histories(OBJECTS))

QUESTION = {"user": "amelia", "message": "Where is my order?", "options": {"language": "en", "limit": 10}}
ITEMS = [{"id": index, "name": f"item {index}"} for index in range(10)]

OPTIONS: dict[str, dict[str, Any]] = {
    "bare": {},
    "again": {},
    "variable": {},
    "scope-only": {"mode": "scope-only"},
    "guarded": {"watch": [__name__]},
    "armed": {"watch": [__name__]},
}
"""The guard's options per variant; the first three have no guard at all. ``again`` is bare once more.
``variable`` is what people write who want a scope per request and nothing else: a middleware that sets a
context variable and resets it.
"""

_state: ContextVar[dict[str, Any] | None] = ContextVar("state", default=None)


class VariableASGI:
    """A fresh dictionary for each request, in a context variable."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        token = _state.set({})
        try:
            await self.app(scope, receive, send)
        finally:
            _state.reset(token)


class VariableWSGI:
    """The same for WSGI: until the application returns, not until its body has been sent."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Serve one request."""
        token = _state.set({})
        try:
            return self.app(environ, start_response)
        finally:
            _state.reset(token)


async def plain(request: Request) -> JSONResponse:
    """A JSON endpoint, JSON in and JSON out, that changes nothing."""
    question = await request.json()
    return JSONResponse({"user": question["user"], "items": ITEMS})


async def ten_awaits(request: Request) -> JSONResponse:
    """The same, after ten trips through the event loop: each is one more step for the guard to check."""
    question = await request.json()
    for _ in range(10):
        await asyncio.sleep(0)
    return JSONResponse({"user": question["user"], "items": ITEMS})


async def ten_waits(request: Request) -> JSONResponse:
    """The same, after ten waits of a millisecond: what an endpoint does that asks a model or a database."""
    question = await request.json()
    for _ in range(10):
        await asyncio.sleep(0.001)
    return JSONResponse({"user": question["user"], "items": ITEMS})


async def stream(request: Request) -> StreamingResponse:
    """A hundred chunks with a millisecond between them, as an agent passes a model's answer on."""
    question = await request.json()

    async def chunks() -> AsyncIterator[str]:
        for index in range(100):
            await asyncio.sleep(0.001)
            yield f"data: {question['user']} {index:03}\n\n"

    length = 100 * len(f"data: {question['user']} 000\n\n")
    return StreamingResponse(
        chunks(), headers={"content-length": str(length)}, media_type="text/event-stream"
    )


async def cpu(request: Request) -> JSONResponse:
    """Processor seconds that this process has used."""
    return JSONResponse(time.process_time())


def guard_of(variant: str) -> Guard | None:
    """A guard as that variant has it."""
    options = OPTIONS[variant]
    return Guard(**options) if options else None


def starlette_app(variant: str, guard: Guard | None) -> Starlette:
    """The Starlette application, bare or with the guard."""
    middleware = [] if guard is None else [Middleware(ASGIGuard, guard=guard)]
    if variant == "variable":
        middleware = [Middleware(VariableASGI)]
    routes = [
        Route("/", plain, methods=["POST"]),
        Route("/ten-awaits", ten_awaits, methods=["POST"]),
        Route("/ten-waits", ten_waits, methods=["POST"]),
        Route("/stream", stream, methods=["POST"]),
        Route("/cpu", cpu),
    ]
    return Starlette(routes=routes, middleware=middleware)


def flask_app(variant: str, guard: Guard | None) -> flask.Flask:
    """The Flask application, bare or with the guard."""
    app = flask.Flask(__name__)

    @app.post("/")
    def plain() -> flask.Response:
        return flask.jsonify(user=flask.request.get_json()["user"], items=ITEMS)

    @app.get("/cpu")
    def cpu() -> flask.Response:
        return flask.jsonify(time.process_time())

    if variant == "variable":
        app.wsgi_app = VariableWSGI(app.wsgi_app)
    if guard is not None:
        app.wsgi_app = WSGIGuard(app.wsgi_app, guard=guard)
    return app
