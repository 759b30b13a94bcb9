"""What Starlette starts for a request: bodies, background tasks, middlewares; and clients that go."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from stateguard import Guard, Leak
from tests.attribution import shared
from tests.attribution.driver import exact, guarding, http_scope, innocents


def user_of(request: Request) -> str | None:
    """Who is to be leaked; ``None``: nobody."""
    name = request.headers["x-request-id"]
    return name if "guilty" in name else None


async def write(user: str | None) -> None:
    await shared.pause()
    if user is not None:
        shared.append(user)
    await shared.pause()


def write_at_once(user: str | None) -> None:
    if user is not None:
        shared.append(user)


async def endpoint(request: Request) -> Response:
    await write(user_of(request))
    return PlainTextResponse("done")


async def async_body(request: Request) -> Response:
    async def body() -> Any:
        yield b"a"
        await write(user_of(request))
        yield b"b"

    return StreamingResponse(body())


async def async_background(request: Request) -> Response:
    return PlainTextResponse("done", background=BackgroundTask(write, user_of(request)))


async def several_in_the_background(request: Request) -> Response:
    tasks = BackgroundTasks()
    tasks.add_task(shared.pause)
    tasks.add_task(write, user_of(request))
    return PlainTextResponse("done", background=tasks)


async def behind_a_stream(request: Request) -> Response:
    async def body() -> Any:
        yield b"a"
        await shared.pause()

    return StreamingResponse(body(), background=BackgroundTask(write, user_of(request)))


def sync_endpoint(request: Request) -> Response:
    write_at_once(user_of(request))
    return PlainTextResponse("done")


async def sync_body(request: Request) -> Response:
    def body() -> Any:
        yield b"a"
        write_at_once(user_of(request))
        yield b"b"

    return StreamingResponse(body())


async def sync_background(request: Request) -> Response:
    return PlainTextResponse("done", background=BackgroundTask(write_at_once, user_of(request)))


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        await shared.pause()
        return await call_next(request)


class Writing(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        await write(user_of(request))
        return response


def served_by(endpoint: Any, *layers: Any) -> Starlette:
    return Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(layer) for layer in layers])


async def ask(app: Any, name: str, goes_after: int | None = None) -> None:
    """One request. ``goes_after``: so many body messages later the client is gone."""
    gone = asyncio.Event()
    asked = False
    bodies = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal bodies
        if message["type"] == "http.response.body":
            bodies += 1
            if bodies == goes_after:
                gone.set()

    await app(http_scope(name), receive, send)
    gone.set()


def leaks_of(app: Any, goes_after: int | None = None, rounds: int = 1) -> list[Leak]:
    async def main(guard: Guard) -> None:
        guarded = guard.asgi(app)
        for n in range(rounds):
            async with anyio.create_task_group() as group:
                for i in range(12):
                    group.start_soon(ask, guarded, f"{'innocent' if i % 4 else 'guilty'}-{n}-{i}", goes_after)

    with guarding() as guard:
        asyncio.run(main(guard))
        return [leak for leak in guard.leaks if leak.root.endswith(".LOG")]


def assert_proven(leaks: list[Leak]) -> None:
    assert [leak.confidence for leak in leaks] == ["exact"] * 3
    assert {leak.request.id for leak in leaks if leak.request} == {f"guilty-0-{i}" for i in (0, 4, 8)}


@pytest.mark.parametrize("layers", [(), (Passing,), (Passing, Passing)], ids=len)
@pytest.mark.parametrize(
    "endpoint",
    [endpoint, async_body, async_background, several_in_the_background, behind_a_stream],
    ids=lambda endpoint: endpoint.__name__,
)
def test_coroutines_are_exact_at_first_occurrence(endpoint: Any, layers: Any) -> None:
    assert_proven(leaks_of(served_by(endpoint, *layers)))


def test_a_middleware_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quiet(request: Request) -> Response:
        return PlainTextResponse("done")

    assert_proven(leaks_of(served_by(quiet, Passing, Writing)))


@pytest.mark.parametrize("layers", [(), (Passing,)], ids=len)
@pytest.mark.parametrize(
    "endpoint", [sync_endpoint, sync_body, sync_background], ids=lambda endpoint: endpoint.__name__
)
def test_what_runs_in_the_threadpool_stays_with_its_request(endpoint: Any, layers: Any) -> None:
    leaks = leaks_of(served_by(endpoint, *layers), rounds=3)
    assert innocents(leaks) == []
    assert leaks
    assert len(shared.LOG) == 9
    for leak in leaks:
        accused = [leak.request] if leak.request else leak.suspects
        assert any("guilty" in info.id for info in accused)


def test_a_client_that_goes_while_a_body_is_streamed() -> None:
    async def streams(request: Request) -> Response:
        async def body() -> Any:
            try:
                yield b"a"
                yield b"b"
                await anyio.sleep(60)
            finally:
                write_at_once(user_of(request))

        return StreamingResponse(body())

    assert_proven(leaks_of(served_by(streams), goes_after=2))


def test_a_client_that_goes_while_its_body_is_awaited() -> None:
    async def reads(request: Request) -> Response:
        await request.body()
        with pytest.raises(ClientDisconnect):
            async for _ in Request(request.scope, request.receive).stream():
                pass
        await write(user_of(request))
        return PlainTextResponse("too late")

    async def main(guard: Guard) -> None:
        app = guard.asgi(served_by(reads))
        messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

        async def one(name: str) -> None:
            left = list(messages)

            async def receive() -> dict[str, Any]:
                await shared.pause()
                return left.pop(0)

            async def send(message: Any) -> None:
                return None

            await app(http_scope(name), receive, send)

        async with anyio.create_task_group() as group:
            for i in range(12):
                group.start_soon(one, f"{'innocent' if i % 4 else 'guilty'}-0-{i}")

    with guarding() as guard:
        asyncio.run(main(guard))
        assert_proven(exact(guard.leaks))


def test_a_server_that_cancels_a_request_in_the_middle_of_a_step() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        name = scope["headers"][0][1].decode()
        try:
            await shared.pause()
            await anyio.sleep(60)
        except asyncio.CancelledError:
            write_at_once(name if "guilty" in name else None)
            await shared.pause()  # and it takes its time
            raise

    async def main(guard: Guard) -> None:
        guarded = guard.asgi(app)
        tasks = [
            asyncio.create_task(ask(guarded, f"{'innocent' if i % 4 else 'guilty'}-0-{i}")) for i in range(12)
        ]
        await anyio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)

    with guarding() as guard:
        asyncio.run(main(guard))
        assert_proven(guard.leaks)
