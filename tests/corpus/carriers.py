"""The ways in which a request's code comes to run: the same write, carried by each of them.

A *deed* is what a guilty request does: a function of the user's name. One that is a generator function does a
part, is held while other requests run, and does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import isgeneratorfunction
from typing import Any

from tests.corpus.gate import hold, hold_async
from tests.corpus.tiny import Asgi, Reply, Request, Wsgi

ASGI = ("direct", "alias", "worker thread", "streamed response", "background task", "websocket", "child task")
WSGI = ("direct", "alias", "worker thread", "streamed response", "close() of the body")

Deed = Callable[[str], Any]


class _Parts:
    """A deed in two parts: before and after the moment at which the request is held."""

    def __init__(self, deed: Deed, user: str) -> None:
        self._deed, self._user = deed, user
        self._rest: Any = None

    def begin(self) -> None:
        result = self._deed(self._user)
        if isgeneratorfunction(self._deed):
            self._rest = result
            next(result)

    def finish(self) -> None:
        if self._rest is not None:
            next(self._rest, None)


def _call(step: Callable[[], None]) -> None:
    step()


def _whole(deed: Deed, request: Request) -> str:
    parts = _Parts(deed, request.user)
    parts.begin()
    hold(request.id)
    parts.finish()
    return "done"


async def _whole_async(deed: Deed, request: Request) -> str:
    parts = _Parts(deed, request.user)
    parts.begin()
    await hold_async(request.id)
    parts.finish()
    return "done"


def asgi(carrier: str, deed: Deed) -> Asgi:
    """An application whose ``/write`` (or, for a websocket, whose socket) carries the deed."""
    app = Asgi()

    @app.route("/write")
    async def write(request: Request) -> Any:
        if carrier == "worker thread":
            return await asyncio.to_thread(_whole, deed, request)
        if carrier == "streamed response":
            return _stream_async(deed, request)
        if carrier == "background task":
            return Reply("accepted", after=partial(_whole_async, deed, request))
        if carrier == "child task":
            return await asyncio.create_task(_whole_async(deed, request))
        if carrier == "alias":
            # Called from C, through names of its own.
            parts = _Parts(deed, request.user)
            list(map(_call, [parts.begin]))
            await hold_async(request.id)
            list(map(_call, [parts.finish]))
            return "done"
        return await _whole_async(deed, request)

    @app.socket("/write")
    async def talk(request: Request, socket: Any) -> None:
        while (text := await socket.hear()) is not None:
            await socket.say(f"{text}: {await _whole_async(deed, request)}")

    @app.route("/read")
    async def read(request: Request) -> str:
        await hold_async(request.id)
        return "read"

    return app


async def _stream_async(deed: Deed, request: Request) -> Any:
    parts = _Parts(deed, request.user)
    yield "begin "
    parts.begin()
    yield "half "
    await hold_async(request.id)
    parts.finish()
    yield "end"


def _stream(deed: Deed, request: Request) -> Any:
    parts = _Parts(deed, request.user)
    yield "begin "
    parts.begin()
    yield "half "
    hold(request.id)
    parts.finish()
    yield "end"


def wsgi(carrier: str, deed: Deed) -> Wsgi:
    """The same for WSGI."""
    app = Wsgi()

    @app.route("/write")
    def write(request: Request) -> Any:
        if carrier == "worker thread":
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(_whole, deed, request).result()
        if carrier == "streamed response":
            return _stream(deed, request)
        if carrier == "close() of the body":
            return Reply("accepted", after=partial(_whole, deed, request))
        if carrier == "alias":
            return next(map(partial(_whole, deed), [request]))
        return _whole(deed, request)

    @app.route("/read")
    def read(request: Request) -> str:
        hold(request.id)
        return "read"

    return app


def build(protocol: str, carrier: str, deed: Deed) -> Any:
    """The application for one deed."""
    return (asgi if protocol == "asgi" else wsgi)(carrier, deed)
