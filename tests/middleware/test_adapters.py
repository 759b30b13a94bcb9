"""Under the test tools and bridges of other projects: asgiref, Starlette's WSGI bridge, Django."""

from __future__ import annotations

import asyncio
import gc

import anyio
import django
import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from asgiref.wsgi import WsgiToAsgi
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path
from werkzeug.test import Client

from stateguard import session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.exchanges import OK, http_scope, websocket_scope

REQUEST = {"type": "http.request", "body": b"hello", "more_body": False}


def test_asgiref_communicator(wrap_asgi):
    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            try:
                await anyio.sleep(30)
            finally:
                ended.append(True)
        assert (await receive())["body"] == b"hello"
        for message in OK:
            await send(message)

    ended = []

    async def main():
        exchange = ApplicationCommunicator(wrap_asgi(app), http_scope())
        await exchange.send_input(REQUEST)
        assert [await exchange.receive_output(5) for _ in OK] == OK
        assert await exchange.receive_nothing()
        await exchange.wait(5)
        socket = ApplicationCommunicator(wrap_asgi(app), websocket_scope())
        await socket.send_input({"type": "websocket.connect"})
        assert await socket.receive_output(5) == {"type": "websocket.accept"}
        socket.stop()  # cancels it
        await socket.wait(5)
        assert ended == [True]

    asyncio.run(main())


def test_asgiref_sync_to_async_keeps_the_session(make_guard, state):
    guard = make_guard()

    async def app(scope, receive, send):
        session().user_id = "ann"
        assert await sync_to_async(lambda: session().user_id)() == "ann"
        await sync_to_async(state.leak)()
        await send(OK[0])

    async def main():
        exchange = ApplicationCommunicator(AsgiGuard(app, guard=guard), http_scope())
        assert await exchange.receive_output(5) == OK[0]
        await exchange.wait(5)

    asyncio.run(main())
    assert [leak.path for leak in guard.leaks] == [f"{state.__name__}.HISTORY"]


@pytest.mark.parametrize("streams", [True, False])
def test_a_bridge_that_never_closes_the_body(streams, make_guard, state):
    guard = make_guard()

    class Body:
        def __iter__(self):
            state.leak()
            return iter([b"a", b"b"])

        def close(self):
            raise AssertionError

    def app(environ, start_response):
        session().user_id = "ann"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body() if streams else [b"ab"]

    async def main():
        exchange = ApplicationCommunicator(
            WsgiToAsgi(WsgiGuard(app, guard=guard)), http_scope(query_string=b"")
        )
        await exchange.send_input(REQUEST)
        body = b""
        assert (await exchange.receive_output(5))["type"] == "http.response.start"
        while True:
            message = await exchange.receive_output(5)
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await exchange.wait(5)
        return body

    assert asyncio.run(main()) == b"ab"
    gc.collect()
    assert not guard.engine.active
    assert guard.engine.failures == {}
    assert len(guard.leaks) == streams


# -- Django -------------------------------------------------------------------------------------------

shared: list[object] = []


def plain(request):
    return HttpResponse(session().session_id)


def streams(request):
    return StreamingHttpResponse(iter([session().session_id, " ", session().session_id]))


def file(request):
    return FileResponse(open(__file__, "rb"))


def leaks(request):
    shared[0].leak()
    return HttpResponse("done")


urlpatterns = [path(f"{view.__name__}", view) for view in (plain, streams, file, leaks)]


@pytest.fixture(scope="module")
def handler():
    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()
    return WSGIHandler()


@pytest.mark.parametrize("page", ["plain", "streams", "file", "leaks", "nowhere"])
def test_django_requests_finish_inside_the_guarded_request(page, handler, make_guard, state):
    guard = make_guard()
    shared[:] = [state]
    at_the_end = []

    def finished(**named):
        at_the_end.append(len(guard.engine.active))

    request_finished.connect(finished)
    try:
        wrapped = WsgiGuard(handler, guard=guard)
        for _ in range(3):
            response = Client(wrapped).get(f"/{page}", buffered=True)
            assert response.status_code == (404 if page == "nowhere" else 200)
            if page == "streams":
                assert len(set(response.text.split())) == 1
            response.close()
    finally:
        request_finished.disconnect(finished)
    assert len(at_the_end) == 3
    if page != "file":  # goes back to the server as it is
        assert at_the_end == [1, 1, 1]
    assert not guard.engine.active
    assert {leak.path for leak in guard.leaks if leak.severity in ("high", "critical")} == (
        {f"{state.__name__}.HISTORY"} if page == "leaks" else set()
    )
