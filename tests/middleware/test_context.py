"""Scopes and context variables: each request has its own, nothing is inherited, nothing stays."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from wsgiref.util import setup_testing_defaults

import anyio
import fastapi
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from stateguard import AgentSession, current_scope, session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.attribution.request import current
from stateguard.errors import NoActiveScope
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.exchanges import OK, converse, hello, http_scope, run

MODES = ["on", "scope-only"]


def ids_app(*, seen):
    async def app(scope, receive, send):
        seen.append(session().session_id)
        for message in OK:
            await send(message)

    return app


@pytest.mark.parametrize("mode", MODES)
def test_a_fresh_session_for_each_request(mode, make_guard):
    seen = []
    wrapped = AsgiGuard(ids_app(seen=seen), guard=make_guard(mode=mode))

    async def main():
        for _ in range(3):
            await converse(wrapped, http_scope())
            with pytest.raises(NoActiveScope):
                session()

    run(main)
    assert len(set(seen)) == 3


def test_off_opens_no_scope(make_guard):
    _, outcome = run(converse, AsgiGuard(ids_app(seen=[]), guard=make_guard(mode="off")), http_scope())
    assert outcome[1] is NoActiveScope


@pytest.mark.parametrize("headers", [[(b"host", b"a")], [], (), None], ids=repr)
@pytest.mark.parametrize("mode", MODES)
def test_an_inherited_context_is_not_a_nested_request(headers, mode, make_guard):
    """uvicorn starts a pipelined request in a copy of the previous one's context."""
    seen = []
    contexts = []

    async def app(scope, receive, send):
        contexts.append(contextvars.copy_context())
        seen.append(session().session_id)
        for message in OK:
            await send(message)

    guard = make_guard(mode=mode)
    wrapped = AsgiGuard(app, guard=guard)

    async def main():
        for _ in range(3):
            context = contexts[-1] if contexts else contextvars.copy_context()
            task = asyncio.get_running_loop().create_task(
                converse(wrapped, http_scope(headers=headers)), context=context
            )
            assert (await task)[1] == ("returned", None)

    run(main)
    assert len(set(seen)) == 3


def test_a_chain_of_inherited_contexts_keeps_no_request_alive(make_guard):
    requests = []
    contexts = [contextvars.copy_context()]

    async def app(scope, receive, send):
        requests.append(weakref.ref(current.get()))
        contexts[:] = [contextvars.copy_context()]
        await send(OK[0])

    wrapped = AsgiGuard(app, guard=make_guard())

    async def main():
        for _ in range(20):
            await asyncio.get_running_loop().create_task(
                converse(wrapped, http_scope(headers=[])), context=contexts[0]
            )

    run(main)
    gc.collect()
    assert sum(request() is not None for request in requests) <= 3  # of 20


@pytest.mark.parametrize("mode", MODES)
def test_wrapping_twice_opens_one_scope(mode, make_guard, state):
    """Also when something in between hands on a copy of the scope, and with a second guard."""
    guard, other = make_guard(mode=mode), make_guard(mode=mode)
    seen = []

    async def app(scope, receive, send):
        seen.append(current_scope())
        state.leak()
        await send(OK[0])

    inner = AsgiGuard(app, guard=guard)

    async def between(scope, receive, send):
        seen.append(current_scope())
        await inner(dict(scope), receive, send)
        assert not current_scope().closed
        session()

    run(converse, AsgiGuard(AsgiGuard(between, guard=guard), guard=other), http_scope())
    assert seen[0] is seen[1]
    assert seen[0].closed
    expected = [] if mode == "scope-only" else [f"{state.__name__}.HISTORY"]
    assert [leak.path for leak in guard.leaks] == [leak.path for leak in other.leaks] == expected
    assert [leak.confidence for leak in (*guard.leaks, *other.leaks)] == ["exact"] * 2 * len(expected)


def test_two_guards_with_sessions_of_their_own(make_guard):
    class Mine:
        pass

    seen = []

    async def app(scope, receive, send):
        seen.append(type(session()))

    inner = AsgiGuard(app, guard=make_guard(session_factory=Mine))

    async def between(scope, receive, send):
        await inner(scope, receive, send)
        seen.append(type(session()))

    run(converse, AsgiGuard(between, guard=make_guard()), http_scope())
    assert seen == [Mine, AgentSession]


@pytest.mark.parametrize("copies", [False, True], ids=["same environ", "copied environ"])
@pytest.mark.parametrize("mode", MODES)
def test_wrapping_twice_opens_one_scope_wsgi(copies, mode, make_guard, state):
    guard = make_guard(mode=mode)
    seen = []

    def app(environ, start_response):
        seen.append(current_scope())
        state.leak()
        start_response("200 OK", [])
        yield b"x"
        seen.append(current_scope())

    inner = WsgiGuard(app, guard=guard)

    def between(environ, start_response):
        seen.append(current_scope())
        return inner(dict(environ) if copies else environ, start_response)

    environ = {}
    setup_testing_defaults(environ)
    body = WsgiGuard(between, guard=guard)(environ, lambda *args: None)
    assert list(body) == [b"x"]
    body.close()
    assert seen[0] is seen[1] is seen[2]
    assert seen[0].closed
    assert len(guard.leaks) == (mode == "on")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("headers", [None, []], ids=["some headers", "no headers"])
def test_a_test_client_inside_a_request_is_another_request(mode, headers, make_guard):
    guard = make_guard(mode=mode)
    seen = {}

    async def app(scope, receive, send):
        scope_now = current_scope()
        if scope["path"] == "/outer":
            inner = http_scope(path="/inner", **({} if headers is None else {"headers": []}))
            await converse(wrapped, inner)
            assert current_scope() is scope_now
        seen[scope["path"]] = scope_now
        await send(OK[0])

    wrapped = AsgiGuard(app, guard=guard)
    run(converse, wrapped, http_scope(path="/outer", **({} if headers is None else {"headers": []})))
    assert seen["/outer"] is not seen["/inner"]
    assert seen["/inner"].request.path == "/inner"


def test_a_test_client_inside_a_wsgi_request(make_guard):
    from werkzeug.test import Client

    guard = make_guard()
    seen = {}

    def app(environ, start_response):
        mine = current_scope()
        if environ["PATH_INFO"] == "/outer":
            Client(wrapped).get("/inner")
            assert current_scope() is mine
        seen[environ["PATH_INFO"]] = mine
        start_response("200 OK", [])
        return [b"ok"]

    wrapped = WsgiGuard(app, guard=guard)
    Client(wrapped).get("/outer")
    assert seen["/outer"] is not seen["/inner"]
    assert all(scope.closed for scope in seen.values())


# -- Starlette, FastAPI -------------------------------------------------------------------------------


async def pass_through(request, call_next):
    request.state.outer = session().session_id
    response = await call_next(request)
    response.headers["x-outer"] = session().session_id
    return response


@pytest.mark.parametrize("side", ["inside", "outside"])
@pytest.mark.parametrize("mode", MODES)
def test_base_http_middleware(side, mode, make_guard, state):
    guard = make_guard(mode=mode)

    def sync(request):
        state.leak()
        return PlainTextResponse(session().session_id)

    async def coroutine(request):
        state.leak()
        return PlainTextResponse(session().session_id)

    async def streams(request):
        async def pieces():
            yield session().session_id
            state.leak()
            yield " " + session().session_id

        return StreamingResponse(pieces())

    async def later(request):
        def work():
            state.leak()
            late.append(session().session_id)

        return PlainTextResponse(session().session_id, background=BackgroundTask(work))

    late = []
    routes = [Route(f"/{f.__name__}", f) for f in (sync, coroutine, streams, later)]
    app = Starlette(routes=routes)

    async def plain(request, call_next):
        return await call_next(request)

    if side == "inside":  # of the guard
        app.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)
        app.add_middleware(AsgiGuard, guard=guard)
    else:
        app.add_middleware(AsgiGuard, guard=guard)
        app.add_middleware(BaseHTTPMiddleware, dispatch=plain)
    client = TestClient(app)
    seen = set()
    for route in routes:
        response = client.get(route.path)
        assert response.status_code == 200
        sessions = {*response.text.split(), *late}
        if side == "inside":
            sessions.add(response.headers["x-outer"])
        assert len(sessions) == 1
        assert not sessions & seen
        seen |= sessions
        late.clear()
    expected = [(f"{state.__name__}.HISTORY", "exact", route.path) for route in routes]
    assert [(leak.path, leak.confidence, leak.request.path) for leak in guard.leaks] == (
        expected if mode == "on" else []
    )


@pytest.mark.parametrize("mode", MODES)
def test_fastapi_dependencies_and_threads(mode, make_guard):
    app = fastapi.FastAPI()

    async def user_async():
        session().user_id = "ann"
        yield session()

    def user_sync():
        yield session()

    @app.get("/")
    def endpoint(one: object = fastapi.Depends(user_async), two: object = fastapi.Depends(user_sync)):
        assert one is two is session()
        return session().user_id

    @app.get("/threads")
    async def threads():
        mine = session()
        assert await anyio.to_thread.run_sync(session) is mine
        assert await asyncio.to_thread(session) is mine
        return "ok"

    app.add_middleware(AsgiGuard, guard=make_guard(mode=mode))
    with TestClient(app) as client:
        assert client.get("/").json() == "ann"
        assert client.get("/threads").json() == "ok"


# -- threads and servers ------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", ["contextvar", "thread-local"])
def test_nothing_stays_on_a_worker_thread(carrier, make_guard):
    guard = make_guard(scope=carrier)

    def app(environ, start_response):
        session().user_id = "ann"
        start_response("200 OK", [])
        return [b"ok"]

    wrapped = WsgiGuard(app, guard=guard)

    def serve():
        environ = {}
        setup_testing_defaults(environ)
        wrapped(environ, lambda *args: None)

    def look():
        return current_scope(), [var.name for var in contextvars.copy_context()]

    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(look).result()
        for _ in range(3):
            pool.submit(serve).result()
            assert pool.submit(look).result() == before == (None, [])


def test_a_task_that_outlives_its_request_has_a_closed_scope(make_guard):
    outcome = []

    async def main():
        go_on = asyncio.Event()

        async def late():
            await go_on.wait()
            try:
                session()
            except NoActiveScope as error:
                outcome.append(str(error))

        async def app(scope, receive, send):
            tasks.append(asyncio.create_task(late()))
            await send(OK[0])

        tasks = []
        await converse(AsgiGuard(app, guard=make_guard()), http_scope())
        go_on.set()
        await tasks[0]

    run(main)
    assert len(outcome) == 1
    assert "has ended" in outcome[0]


def test_a_late_write_is_attributed_to_the_request_that_started_it(make_guard, state):
    guard = make_guard()

    async def main():
        go_on = asyncio.Event()
        tasks = []

        async def late():
            await go_on.wait()
            state.leak()

        async def app(scope, receive, send):
            if scope["path"] == "/starts":
                tasks.append(asyncio.create_task(late()))
            await send(OK[0])

        wrapped = AsgiGuard(app, guard=guard)
        await converse(wrapped, http_scope(path="/starts"))
        go_on.set()
        await tasks[0]
        await converse(wrapped, http_scope(path="/innocent"))

    run(main)
    [leak] = guard.leaks
    assert leak.request.path == "/starts"
    assert leak.after_response


def test_what_a_start_up_sets_up_is_no_leak_however_often_one_guard_sees_it(make_guard, state):
    """As with a test client per test: the guard has had a baseline when the application starts up again."""
    guard = make_guard()

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            state.TABLE[len(state.TABLE)] = state.Agent()
            state.AGENT = state.Agent()
            state.Agent.started = True
            await send({"type": "lifespan.startup.complete"})
            return
        state.AGENT.messages.append(scope["path"])
        await hello(scope, receive, send)

    wrapped = AsgiGuard(app, guard=guard)

    async def main():
        for n in range(3):
            await converse(wrapped, {"type": "lifespan"}, [{"type": "lifespan.startup"}])
            await converse(wrapped, http_scope(path=f"/{n}"))

    run(main)
    assert [(leak.path.rpartition(".AGENT")[2], leak.request.path) for leak in guard.leaks] == [
        (".messages", f"/{n}") for n in range(3)
    ]


class Server(uvicorn.Server):
    def install_signal_handlers(self):
        pass


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_keep_alive_and_pipelining_on_uvicorn(http, make_guard, state):
    """Twenty requests on one connection, sent at once, some with a large body: twenty scopes."""
    guard = make_guard()
    found = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        found.append((session().session_id, scope["path"], current.get().outer))
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        if scope["path"] == "/5":
            state.leak()
        await send({**OK[0], "headers": [(b"content-length", b"2")]})
        await send(OK[1])

    config = uvicorn.Config(AsgiGuard(app, guard=guard), http=http, log_level="error", loop="asyncio")
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with socket.create_connection(listener.getsockname(), timeout=20) as client:
                for n in range(20):
                    body = b"x" * (200_000 if n % 5 == 0 else 3)
                    head = f"POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
                    client.sendall(head.encode() + body)
                received = b""
                while received.count(b"HTTP/1.1 200") < 20 or not received.endswith(b"ok"):
                    piece = client.recv(65536)
                    assert piece, received
                    received += piece
        finally:
            server.should_exit = True
            thread.join(20)
    assert len({session_id for session_id, _, _ in found}) == 20
    assert [outer for _, _, outer in found] == [None] * 20
    # Proven, unless the client's thread was busy just then; nobody else is suspected in any case.
    assert [
        [request.path for request in ([leak.request] if leak.request else leak.suspects)]
        for leak in guard.leaks
    ] == [["/5"]]


def test_hello_without_lifespan(make_guard):
    assert run(converse, AsgiGuard(hello, guard=make_guard()), http_scope())[1] == ("returned", None)
