"""``on_leak="raise"``: a proven leak fails its request while that can still be done cleanly, only then."""

from __future__ import annotations

import io
import threading
from wsgiref.util import FileWrapper, setup_testing_defaults

import anyio
import flask
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from werkzeug.test import Client

from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.errors import SharedStateMutated
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.exchanges import OK, Server, converse, http_scope, run, websocket_scope


@pytest.fixture
def guard(make_guard):
    return make_guard(on_leak="raise")


# -- ASGI ---------------------------------------------------------------------------------------------


def test_bare_asgi(state, guard):
    async def app(scope, receive, send):
        state.leak()
        for message in OK:
            await send(message)

    server = Server()
    with pytest.raises(SharedStateMutated, match=r"HISTORY") as caught:
        run(AsgiGuard(app, guard=guard), http_scope(), server.receive, server.send)
    assert server.events == []
    assert [leak.path for leak in caught.value.leaks] == [f"{state.__name__}.HISTORY"]
    assert caught.value.leaks[0].confidence == "exact"
    assert caught.value.__context__ is None


def test_an_application_that_answers_nothing(state, guard):
    async def app(scope, receive, send):
        state.leak()

    with pytest.raises(SharedStateMutated):
        run(AsgiGuard(app, guard=guard), http_scope(), None, None)


def test_an_application_that_swallows_the_error(state, guard):
    """What it sends after that is a response to a request that has leaked: none of it leaves."""

    async def app(scope, receive, send):
        state.leak()
        for message in (*OK, *OK):
            try:
                await send(message)
            except Exception:
                pass

    server = Server()
    with pytest.raises(SharedStateMutated):
        run(AsgiGuard(app, guard=guard), http_scope(), server.receive, server.send)
    assert server.events == []


def test_the_applications_own_error_is_not_masked(state, guard):
    boom = ValueError("boom")

    async def app(scope, receive, send):
        state.leak()
        raise boom

    with pytest.raises(ValueError, match="boom") as caught:
        run(AsgiGuard(app, guard=guard), http_scope(), None, None)
    assert caught.value is boom
    assert boom.__context__ is boom.__cause__ is None
    assert len(guard.leaks) == 1


@pytest.mark.parametrize("where", ["after the start", "after the end", "in the background"])
def test_never_after_the_first_byte(where, state, guard, caplog):
    async def app(scope, receive, send):
        await send(OK[0])
        if where == "after the start":
            state.leak()
        await send(OK[1])
        if where == "after the end":
            state.leak()
        await anyio.sleep(0)
        if where == "in the background":
            state.leak()

    events, outcome = run(converse, AsgiGuard(app, guard=guard), http_scope())
    assert outcome == ("returned", None)
    assert [message for _, message in events] == OK
    assert [record.leak_path for record in caplog.records] == [f"{state.__name__}.HISTORY"]


def test_a_leak_below_the_threshold_is_not_raised(state, guard):
    async def app(scope, receive, send):
        state.COUNT += 1
        await send(OK[0])

    state.COUNT = 0
    _, outcome = run(converse, AsgiGuard(app, guard=guard), http_scope())
    assert outcome == ("returned", None)
    assert [leak.severity for leak in guard.leaks] == ["note"]


@pytest.mark.parametrize("answer", ["accept", "close", "refuse", "nothing"])
def test_a_websocket_before_its_first_answer(answer, state, guard):
    async def app(scope, receive, send):
        await receive()
        state.leak()
        if answer == "accept":
            await send({"type": "websocket.accept"})
        elif answer == "close":
            await send({"type": "websocket.close", "code": 1000})
        elif answer == "refuse":
            await send({"type": "websocket.http.response.start", "status": 403, "headers": []})

    server = Server([{"type": "websocket.connect"}])
    with pytest.raises(SharedStateMutated):
        run(AsgiGuard(app, guard=guard), websocket_scope(), server.receive, server.send)
    assert [event for event, _ in server.events] == ["received"]


def test_a_websocket_that_is_open_is_not_torn_down(state, guard, caplog):
    """Reported when found, not when the session ends: that may be hours later."""
    reported = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        state.leak()
        await send({"type": "websocket.send", "text": "still here"})
        await anyio.sleep(0)
        reported.append(len(caplog.records))
        await send({"type": "websocket.close"})

    _, outcome = run(
        converse, AsgiGuard(app, guard=guard), websocket_scope(), [{"type": "websocket.connect"}]
    )
    assert outcome == ("returned", None)
    assert reported == [1]


def starlette_app(state, guard, outermost):
    """With the guard as a middleware of the application, or around the whole of it."""

    def leaks(request):
        state.leak()
        return PlainTextResponse("tainted")

    async def leaks_async(request):
        state.leak()
        return PlainTextResponse("tainted")

    async def streams(request):
        async def pieces():
            yield "first"
            state.leak()
            yield "second"

        return StreamingResponse(pieces())

    async def background(request):
        return PlainTextResponse("clean", background=BackgroundTask(state.leak))

    async def fails(request):
        state.leak()
        raise ValueError("boom")

    async def clean(request):
        return PlainTextResponse("clean")

    async def websocket(socket):
        state.leak()
        await socket.accept()
        await socket.close()

    app = Starlette(
        routes=[
            Route("/leaks", leaks),
            Route("/leaks-async", leaks_async),
            Route("/streams", streams),
            Route("/background", background),
            Route("/fails", fails),
            Route("/clean", clean),
            WebSocketRoute("/socket", websocket),
        ]
    )

    async def dispatch(request, call_next):
        response = await call_next(request)
        response.headers["x-inner"] = "passed"
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    if outermost:
        return AsgiGuard(app, guard=guard)
    app.add_middleware(AsgiGuard, guard=guard)
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    return app


@pytest.mark.parametrize("outermost", [True, False], ids=["around", "add_middleware"])
@pytest.mark.parametrize("path", ["/leaks", "/leaks-async"])
def test_starlette_answers_500(path, outermost, state, guard):
    app = starlette_app(state, guard, outermost)
    with pytest.raises(SharedStateMutated):
        TestClient(app).get(path)
    if not outermost:  # a server makes the 500 itself; here Starlette's outermost layer does
        response = TestClient(app, raise_server_exceptions=False).get(path)
        assert response.status_code == 500
        assert "tainted" not in response.text


@pytest.mark.parametrize("outermost", [True, False], ids=["around", "add_middleware"])
@pytest.mark.parametrize(("path", "text"), [("/streams", "firstsecond"), ("/background", "clean")])
def test_starlette_goes_on_once_it_has_answered(path, text, outermost, state, guard):
    response = TestClient(starlette_app(state, guard, outermost)).get(path)
    assert (response.status_code, response.text) == (200, text)
    assert [leak.path for leak in guard.leaks] == [f"{state.__name__}.HISTORY"]


@pytest.mark.parametrize("outermost", [True, False], ids=["around", "add_middleware"])
def test_starlette_shows_its_own_error(outermost, state, guard):
    with pytest.raises(ValueError, match="boom"):
        TestClient(starlette_app(state, guard, outermost)).get("/fails")


@pytest.mark.parametrize("outermost", [True, False], ids=["around", "add_middleware"])
def test_starlette_refuses_a_tainted_websocket(outermost, state, guard):
    client = TestClient(starlette_app(state, guard, outermost))
    with pytest.raises((SharedStateMutated, WebSocketDisconnect)), client.websocket_connect("/socket"):
        raise AssertionError("accepted")


def test_one_leak_fails_one_request(state, guard):
    client = TestClient(starlette_app(state, guard, False), raise_server_exceptions=False)
    statuses = [client.get(path).status_code for path in ("/clean", "/leaks", "/clean", "/leaks", "/clean")]
    assert statuses == [200, 500, 200, 500, 200]


# -- WSGI ---------------------------------------------------------------------------------------------


def call(app, start=None):
    environ = {"wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    sent = []
    body = app(environ, start or (lambda status, headers, exc_info=None: sent.append))
    return body, sent


BODIES = {
    "list": lambda: [b"tainted"],
    "tuple": lambda: (b"tainted",),
    "bytes": lambda: b"tainted",
    "file": lambda: FileWrapper(io.BytesIO(b"tainted")),
}


@pytest.mark.parametrize("body", BODIES)
def test_bare_wsgi_fails_at_the_return(body, state, guard):
    made = []

    def app(environ, start_response):
        state.leak()
        start_response("200 OK", [])
        made.append(BODIES[body]())
        return made[0]

    with pytest.raises(SharedStateMutated) as caught:
        call(WsgiGuard(app, guard=guard))
    assert caught.value.__context__ is None
    if body == "file":
        assert made[0].filelike.closed


@pytest.mark.parametrize("pieces", [[b"tainted"], [b"", b"tainted"], [b""], []], ids=repr)
def test_a_generator_fails_before_its_first_byte(pieces, state, guard):
    closed = []

    def app(environ, start_response):
        state.leak()
        start_response("200 OK", [])
        try:
            yield from pieces
        finally:
            closed.append(True)

    body, _ = call(WsgiGuard(app, guard=guard))
    with pytest.raises(SharedStateMutated) as caught:
        next(body)
    assert caught.value.__context__ is None
    body.close()
    assert closed == [True]


def test_an_iterator_that_leaks_at_its_end_without_a_byte(state, guard):
    class Empty:
        def __iter__(self):
            return self

        def __next__(self):
            state.leak()
            raise StopIteration

    def app(environ, start_response):
        start_response("204 No Content", [])
        return Empty()

    body, _ = call(WsgiGuard(app, guard=guard))
    with pytest.raises(SharedStateMutated):
        next(body)


def test_a_generator_that_leaks_late_is_not_cut_off(state, guard, caplog):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"first"
        state.leak()
        yield b"second"

    body, _ = call(WsgiGuard(app, guard=guard))
    assert list(body) == [b"first", b"second"]
    body.close()
    assert len(caplog.records) == 1


def test_a_leak_in_close_is_only_logged(state, guard, caplog):
    class Body:
        def __iter__(self):
            return iter([b"x"])

        def close(self):
            state.leak()

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body()

    body, _ = call(WsgiGuard(app, guard=guard))
    assert list(body) == [b"x"]
    body.close()
    assert len(caplog.records) == 1


def test_write_sends_nothing_tainted(state, guard):
    def app(environ, start_response):
        write = start_response("200 OK", [])
        state.leak()
        write(b"tainted")
        return []

    sent = []
    with pytest.raises(SharedStateMutated):
        call(WsgiGuard(app, guard=guard), lambda status, headers, exc_info=None: sent.append)
    assert sent == []


def test_what_leaks_after_write_is_only_logged(state, guard, caplog):
    def app(environ, start_response):
        start_response("200 OK", [])(b"first")
        state.leak()
        return [b"second"]

    body, sent = call(WsgiGuard(app, guard=guard))
    assert (sent, body) == ([b"first"], [b"second"])
    assert len(caplog.records) == 1


@pytest.mark.parametrize("late", [False, True], ids=["call", "body"])
def test_the_wsgi_applications_own_error_is_not_masked(late, state, guard):
    boom = ValueError("boom")

    def fails():
        state.leak()
        raise boom
        yield b""

    def app(environ, start_response):
        start_response("200 OK", [])
        return fails() if late else list(fails())

    with pytest.raises(ValueError, match="boom") as caught:
        next(call(WsgiGuard(app, guard=guard))[0])
    assert caught.value is boom
    assert boom.__context__ is None


@pytest.mark.parametrize("path", ["/leaks", "/streams"])
def test_flask_answers_500(path, state, guard):
    app = flask.Flask("raises")

    @app.route("/leaks")
    def leaks():
        state.leak()
        return "tainted"

    @app.route("/streams")
    def streams():
        def pieces():
            state.leak()
            yield "tainted"

        return flask.Response(pieces())

    @app.route("/clean")
    def clean():
        return "clean"

    app.wsgi_app = WsgiGuard(app.wsgi_app, guard=guard)
    client = Client(app)
    assert client.get("/clean").data == b"clean"
    with pytest.raises(SharedStateMutated):
        client.get(path)
    assert client.get("/clean").data == b"clean"


# -- only on proof ------------------------------------------------------------------------------------


def test_never_on_suspicion(state, make_guard):
    """Two requests run at the same time on two threads: who wrote cannot be known from outside."""
    guard = make_guard(on_leak="raise", locate="never")
    both_run = threading.Barrier(2)
    has_written = threading.Barrier(2)
    outcomes = {}

    def app(environ, start_response):
        start_response("200 OK", [])
        both_run.wait(10)
        if environ["PATH_INFO"] == "/guilty":
            state.leak()
        has_written.wait(10)
        return [b"ok"]

    wrapped = WsgiGuard(app, guard=guard)

    def serve(path):
        environ = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        try:
            outcomes[path] = wrapped(environ, lambda *args: None)
        except SharedStateMutated as error:
            outcomes[path] = error

    threads = [threading.Thread(target=serve, args=(path,)) for path in ("/guilty", "/innocent")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert outcomes["/innocent"] == [b"ok"]
    [leak] = guard.leaks
    if leak.confidence == "suspected":
        assert outcomes["/guilty"] == [b"ok"]
        assert {info.path for info in leak.suspects} == {"/guilty", "/innocent"}
    else:
        assert leak.request.path == "/guilty"


def test_generic_use(state, guard):
    with pytest.raises(SharedStateMutated), guard.request("job"):
        state.leak()

    def fails():
        state.leak()
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom") as caught, guard.request("job"):
        fails()
    assert caught.value.__context__ is None
    with guard.request("job"):
        pass
