"""The applications that ``benchmarks/request.py`` measures, and the state that the guard watches in them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

WATCHED_GLOBALS = 200
for number in range(WATCHED_GLOBALS):
    # Half lists, half dictionaries: 10 strings each, as a service's tables and registries are.
    row = [f"value {number}.{index}" for index in range(10)]
    globals()[f"STATE_{number:03d}"] = row if number % 2 else dict(zip(map(str, range(10)), row, strict=True))

QUESTION = {"user": "amelia", "message": "Where is my order?", "options": {"language": "en", "limit": 10}}
ITEMS = [{"id": index, "name": f"item {index}"} for index in range(10)]

OPTIONS: dict[str, dict[str, Any]] = {
    "bare": {},
    "scope-only": {"mode": "scope-only"},
    "guarded": {"watch": [__name__]},
    "armed": {"watch": [__name__], "locate": "always"},
}
"""The guard's options per variant; the bare variant has no guard at all."""


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


async def cpu(request: Request) -> JSONResponse:
    """Processor seconds that this process has used."""
    return JSONResponse(time.process_time())


def starlette_app(variant: str) -> Starlette:
    """The Starlette application, bare or with the guard."""
    options = OPTIONS[variant]
    middleware = [Middleware(ASGIGuard, **options)] if options else []
    routes = [
        Route("/", plain, methods=["POST"]),
        Route("/ten-awaits", ten_awaits, methods=["POST"]),
        Route("/cpu", cpu),
    ]
    return Starlette(routes=routes, middleware=middleware)


def flask_app(variant: str) -> flask.Flask:
    """The Flask application, bare or with the guard."""
    app = flask.Flask(__name__)

    @app.post("/")
    def plain() -> flask.Response:
        return flask.jsonify(user=flask.request.get_json()["user"], items=ITEMS)

    @app.get("/cpu")
    def cpu() -> flask.Response:
        return flask.jsonify(time.process_time())

    options = OPTIONS[variant]
    if options:
        app.wsgi_app = WSGIGuard(app.wsgi_app, **options)  # type: ignore[method-assign]
    return app
