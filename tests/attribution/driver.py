"""Serve many overlapping requests through a guard, without a server."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from stateguard import Guard, Leak
from tests.attribution import shared

STATE = "tests.attribution.shared"


@contextmanager
def guarding(**options: Any) -> Iterator[Guard]:
    """A guard on the shared state, closed afterwards; what it logs stays out of the test output."""
    shared.reset()
    logger = logging.getLogger("stateguard")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    options = {"watch": [STATE], "process": False, "budget": 1.0, **options}
    try:
        guard = Guard(**options)
        try:
            yield guard
        finally:
            guard.close()
    finally:
        logger.setLevel(level)


def http_scope(request_id: str, path: str = "/") -> dict[str, Any]:
    return {
        "type": "http",
        "headers": [(b"x-request-id", request_id.encode())],
        "method": "GET",
        "path": path,
        "query_string": b"",
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


async def send(message: Any) -> None:
    return None


def app_of(work: Callable[[str], Awaitable[None]]) -> Any:
    """An application whose requests to /guilty do ``work``; the others only take their time."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        user = scope["headers"][0][1].decode()
        await shared.pause()
        if scope["path"] == "/guilty":
            await work(user)
        await shared.pause()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


async def serve(guard: Guard, work: Callable[[str], Awaitable[None]], requests: int = 16) -> None:
    """``requests`` overlapping requests, every fourth of them guilty."""
    app = guard.asgi(app_of(work))
    async with anyio.create_task_group() as group:
        for i in range(requests):
            guilty = i % 4 == 0
            scope = http_scope(f"{'guilty' if guilty else 'innocent'}-{i}", "/guilty" if guilty else "/")
            group.start_soon(app, scope, receive, send)
    await anyio.sleep(0.03)


def exact(leaks: list[Leak]) -> list[Leak]:
    return [leak for leak in leaks if leak.confidence == "exact"]


def innocents(leaks: list[Leak]) -> list[str]:
    """The innocent requests among the exactly accused."""
    return [leak.request.id for leak in exact(leaks) if leak.request and "innocent" in leak.request.id]


def line_of(mark: str) -> int:
    """The line in the shared module that carries ``# WRITE <mark>``."""
    for number, text in enumerate(Path(shared.__file__).read_text().splitlines(), 1):
        if re.search(rf"# WRITE {mark}\b", text):
            return number
    raise AssertionError(mark)
