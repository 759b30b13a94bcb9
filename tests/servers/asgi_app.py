"""A Starlette application with one fault per endpoint."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from stateguard import Guard, session
from stateguard.asgi import StateGuardMiddleware
from tests.servers import state

# The endpoints do next to nothing, so looking takes more than its usual share; here it must look in full.
guard = Guard(watch=["tests.servers.state"], on_leak=os.environ["ON_LEAK"], budget=1.0)


async def guilty(request: Request) -> PlainTextResponse:
    name = request.query_params["name"]
    await anyio.sleep(0.005)
    state.HISTORY.append(name)
    await anyio.sleep(0.005)
    return PlainTextResponse(f"hello {name}")


async def innocent(request: Request) -> PlainTextResponse:
    for _ in range(5):
        await anyio.sleep(0.002)
        state.TABLE["first"] + state.TABLE["second"]
    return PlainTextResponse("hello")


async def stream(request: Request) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        for number in range(5):
            await anyio.sleep(0.002)
            if number == 3:
                state.STREAMED.append(request.query_params["name"])
            yield f"part {number}\n"

    return StreamingResponse(body(), media_type="text/plain")


async def later(request: Request) -> PlainTextResponse:
    async def work() -> None:
        await anyio.sleep(0.005)
        state.LATER.append(request.query_params["name"])

    return PlainTextResponse("done", background=BackgroundTask(work))


async def scope(request: Request) -> JSONResponse:
    found = dict(session().metadata)
    session().metadata["name"] = request.query_params["name"]
    await anyio.sleep(0.005)
    inside = await anyio.to_thread.run_sync(lambda: dict(session().metadata))
    return JSONResponse({"found": found, "kept": dict(session().metadata), "in thread": inside})


async def leaks(request: Request) -> JSONResponse:
    return JSONResponse([leak.to_dict() for leak in guard.leaks])


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        state.SOCKETS.append(text)
        await websocket.send_text(f"echo {text}")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    yield {"started": "yes"}


async def started(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.started)


app = Starlette(
    routes=[
        *(
            Route(f"/{view.__name__}", view)
            for view in (guilty, innocent, stream, later, scope, leaks, started)
        ),
        WebSocketRoute("/socket", socket),
    ],
    middleware=[Middleware(StateGuardMiddleware, guard=guard)],
    lifespan=lifespan,
)
