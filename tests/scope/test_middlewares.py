"""The scope as the middlewares open it: streamed bodies, background tasks, websockets, nested clients."""

from __future__ import annotations

import asyncio
import threading

import flask
import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

from stateguard import carry, current_scope, scoped, session
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

HISTORY = scoped(list)
AFTER: list[list[str]] = []


def inner_app():
    def view(request):
        HISTORY.append("inner")
        return JSONResponse(list(HISTORY))

    return ASGIGuard(Starlette(routes=[Route("/", view)]), mode="scope-only")


async def stream(request):
    HISTORY.append("view")

    def body():  # a sync generator: each piece in a worker thread, with a context of its own
        for number in range(3):
            HISTORY.append(str(number))
            yield f"{len(HISTORY)} "

    return StreamingResponse(body())


async def background(request):
    HISTORY.append("view")

    def later():
        HISTORY.append("later")
        AFTER.append(list(HISTORY))

    return JSONResponse([], background=BackgroundTask(later))


async def nested(request):
    HISTORY.append("outer")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(inner_app()), base_url="http://inner"
    ) as client:
        inner = (await client.get("/")).json()
    return JSONResponse([inner, list(HISTORY)])


async def threads(request):
    HISTORY.append("view")
    await asyncio.to_thread(HISTORY.append, "to_thread")
    thread = threading.Thread(target=carry(lambda: HISTORY.append("carried")))
    thread.start()
    thread.join(10)
    await asyncio.gather(*(asyncio.create_task(one(name)) for name in "ab"))
    return JSONResponse(list(HISTORY))


async def one(name):
    HISTORY.append(name)


async def talk(socket):
    await socket.accept()
    for _ in range(3):
        HISTORY.append(await socket.receive_text())
        await socket.send_json(list(HISTORY))
    await socket.close()


class Between(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        HISTORY.append("middleware")
        response = await call_next(request)
        assert HISTORY[0] == "middleware"
        return response


ROUTES = [Route(f"/{view.__name__}", view) for view in (stream, background, nested, threads)]


def client(*, between=False):
    app = Starlette(routes=[*ROUTES, WebSocketRoute("/talk", talk)])
    if between:
        app.add_middleware(Between)
    return TestClient(ASGIGuard(app, mode="scope-only"))


def test_asgi_scope_lasts_to_the_end_of_the_request():
    AFTER.clear()
    with client() as c:
        for _ in range(2):
            assert c.get("/stream").text == "2 3 4 "
            c.get("/background")
            assert c.get("/threads").json() == ["view", "to_thread", "carried", "a", "b"]
    assert AFTER == [["view", "later"]] * 2
    assert current_scope() is None


def test_a_nested_client_gets_its_own_scope_and_gives_the_outer_one_back():
    with client() as c:
        assert c.get("/nested").json() == [["inner"], ["outer"]]


def test_websockets_keep_their_own_scope():
    with client() as c, c.websocket_connect("/talk") as one_, c.websocket_connect("/talk") as two:
        for number in range(3):
            for name, socket in (("one", one_), ("two", two)):
                socket.send_text(name)
                assert socket.receive_json() == [name] * (number + 1)


def test_under_base_http_middleware():
    with client(between=True) as c:
        assert c.get("/stream").text == "3 4 5 "
        assert c.get("/threads").json()[:2] == ["middleware", "view"]


def test_overlapping_requests_share_nothing():
    async def slow(request):
        name = request.path_params["name"]
        for _ in range(5):
            HISTORY.append(name)
            session().metadata[name] = True
            await asyncio.sleep(0.001)
        return JSONResponse([list(HISTORY), list(session().metadata)])

    app = ASGIGuard(Starlette(routes=[Route("/{name}", slow)]), mode="scope-only")

    async def main():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as c:
            answers = await asyncio.gather(*(c.get(f"/r{number}") for number in range(20)))
        return [answer.json() for answer in answers]

    assert asyncio.run(main()) == [[[f"r{number}"] * 5, [f"r{number}"]] for number in range(20)]


def test_wsgi_bodies_iterated_in_turn_on_one_thread():
    app = flask.Flask("app")

    @app.get("/<name>")
    def view(name):
        HISTORY.append(name)

        def body():
            for _ in range(3):
                HISTORY.append(name)
                yield ",".join(HISTORY)

        return app.response_class(body())

    for carrier in ("contextvar", "thread-local"):
        guarded = WSGIGuard(app.wsgi_app, mode="scope-only", scope=carrier)
        bodies = []
        for name in "ab":
            environ = {
                "REQUEST_METHOD": "GET",
                "PATH_INFO": f"/{name}",
                "SERVER_NAME": "x",
                "SERVER_PORT": "80",
                "wsgi.url_scheme": "http",
            }
            bodies.append(guarded(environ, lambda *arguments: None))
        iterators = [iter(body) for body in bodies]
        for number in range(2, 5):
            for name, iterator in zip("ab", iterators, strict=True):
                assert next(iterator) == ",".join([name] * number).encode()
                assert current_scope() is None
        for body in bodies:
            body.close()
        assert current_scope() is None
