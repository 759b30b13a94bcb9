"""Requests that fail, clients that leave, tasks that overlap: what is saved of them, in every framework."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import textwrap
import time

import flask
import httpx
import pytest
import trio
from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.testclient import TestClient

from stateguard import session
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.sessions import SQLiteStore, end_session
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard
from tests.redis_server import free_port


def asgi_app():
    app = FastAPI()

    @app.get("/say/{text}")
    async def say(text: str):
        session().add_message("user", text)
        return text

    @app.get("/crash")
    async def crash():
        session().add_message("user", "crash")
        raise RuntimeError("the model is down")

    @app.get("/status/{code}")
    async def status(code: int):
        session().add_message("user", str(code))
        return JSONResponse({}, code)

    @app.get("/refuse")
    async def refuse():
        session().add_message("user", "refuse")
        raise HTTPException(404)

    @app.get("/logout")
    async def logout():
        end_session()
        raise HTTPException(503)

    @app.get("/break")
    async def break_off():
        session().add_message("user", "question")

        async def body():
            yield b"so far"
            session().add_message("assistant", "half an answer")
            raise RuntimeError("the model is down")

        return StreamingResponse(body())

    return app


def flask_app():
    app = flask.Flask("app")

    @app.get("/say/<text>")
    def say(text):
        session().add_message("user", text)
        return text

    @app.get("/crash")
    def crash():
        session().add_message("user", "crash")
        raise RuntimeError("the model is down")

    @app.get("/status/<int:code>")
    def status(code):
        session().add_message("user", str(code))
        return {}, code

    @app.get("/refuse")
    def refuse():
        session().add_message("user", "refuse")
        flask.abort(404)

    @app.get("/logout")
    def logout():
        end_session()
        flask.abort(503)

    @app.get("/break")
    def break_off():
        session().add_message("user", "question")

        def body():
            yield b"so far"
            session().add_message("assistant", "half an answer")
            raise RuntimeError("the model is down")

        return app.response_class(body())

    return app


def texts(store):
    return store.update("c", lambda s: [m["content"] for m in s.history])


@pytest.fixture
def store(tmp_path):
    store = SQLiteStore(tmp_path / "s.db", durable=False)
    yield store
    store.close()


@pytest.fixture(params=["asgi", "wsgi"])
def client(request, store):
    options = {"mode": "scope-only", "store": store, "session_id": lambda request: "c"}
    if request.param == "asgi":
        app = asgi_app()
        app.add_middleware(ASGIGuard, **options)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client
        return
    app = flask_app()
    app.wsgi_app = WSGIGuard(app.wsgi_app, **options)
    transport = httpx.WSGITransport(app, raise_app_exceptions=False)
    with httpx.Client(transport=transport, base_url="http://testserver") as client:
        yield client


def test_a_failed_request_leaves_the_session_as_it_was(client, store):
    client.get("/say/one")
    assert client.get("/crash").status_code == 500
    assert client.get("/status/502").status_code == 502
    assert client.get("/logout").status_code == 503
    assert texts(store) == ["one"]


def test_a_refusal_is_an_answer_like_others(client, store):
    assert client.get("/refuse").status_code == 404
    assert client.get("/status/429").status_code == 429
    assert texts(store) == ["refuse", "429"]


def test_a_stream_that_breaks_keeps_what_was_saved_when_it_began(client, store):
    with contextlib.suppress(RuntimeError):
        client.get("/break")
    assert texts(store) == ["question"]


def test_tasks_of_a_websocket_that_save_at_the_same_time(store):
    """One task reads and one writes, as in most chat applications: each save knows of the other."""
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(socket: WebSocket):
        await socket.accept()

        async def write(name):
            for number in range(10):
                session().add_message("assistant", f"{name}{number}")
                session().tool_calls += 1
                await socket.send_text(name)

        async with asyncio.TaskGroup() as tasks:
            for name in "abc":
                tasks.create_task(write(name))
            for number in range(5):
                session().add_message("user", await socket.receive_text() + str(number))
        await socket.close()

    app.add_middleware(ASGIGuard, mode="scope-only", store=store, session_id=lambda request: "c")
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        for _ in range(5):
            socket.send_text("u")
        for _ in range(30):
            socket.receive_text()
        socket.close()
    expected = [f"{name}{number}" for name in "abc" for number in range(10)] + [f"u{n}" for n in range(5)]
    assert sorted(texts(store)) == sorted(expected)
    assert store.update("c", lambda s: s.tool_calls) == 30


SERVED = """
import asyncio, sys, time
import flask
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from stateguard import session
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.sessions import SQLiteStore
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

options = {"store": SQLiteStore("s.db"), "session_id": lambda request: "c", "mode": "scope-only"}
app = FastAPI()

@app.get("/stream")
async def stream():
    session().add_message("user", "question")
    async def body():
        session().add_message("assistant", "half an answer")
        for _ in range(500):
            yield b"x" * 1000
            await asyncio.sleep(0.02)
        session().add_message("assistant", "never reached")
    return StreamingResponse(body())

app.add_middleware(ASGIGuard, **options)

flask_app = flask.Flask("app")

@flask_app.get("/stream")
def stream_flask():
    session().add_message("user", "question")
    def body():
        session().add_message("assistant", "half an answer")
        for _ in range(500):
            yield b"x" * 1000
            time.sleep(0.02)
        session().add_message("assistant", "never reached")
    return flask_app.response_class(body())

flask_app.wsgi_app = WSGIGuard(flask_app.wsgi_app, **options)
"""

COMMANDS = {
    "uvicorn": ["uvicorn", "served:app", "--port"],
    "hypercorn": ["hypercorn", "served:app", "--bind"],
    "waitress": ["waitress", "--threads=4", "--listen"],
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_client_that_leaves_mid_stream_does_not_undo_what_was_said(kind, tmp_path):
    (tmp_path / "served.py").write_text(textwrap.dedent(SERVED))
    port = free_port()
    address = str(port) if kind == "uvicorn" else f"127.0.0.1:{port}"
    command = [sys.executable, "-m", *COMMANDS[kind], address]
    if kind == "waitress":
        command.append("served:flask_app")
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    store = SQLiteStore(tmp_path / "s.db")
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), 5)
                break
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        with connection:
            connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while b"xxx" not in received:
                received += connection.recv(65536)
        while len(texts(store)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert texts(store) == ["question", "half an answer"]
    finally:
        store.close()
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def test_under_trio(store):
    """Requests and a websocket with tasks of its own, served by trio: as hypercorn does with ``-k trio``."""

    async def app(scope, receive, send):
        if scope["type"] == "http":
            session().add_message("user", scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        await receive()
        await send({"type": "websocket.accept"})

        async def write(name):
            for number in range(3):
                session().add_message("assistant", f"{name}{number}")
                await send({"type": "websocket.send", "text": name})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, "a")
            nursery.start_soon(write, "b")

    guarded = ASGIGuard(app, mode="scope-only", store=store, session_id=lambda request: "c")

    async def main():
        sent = []

        async def send(message):
            sent.append(message["type"])

        async def receive():
            return {"type": "websocket.connect"}

        await guarded({"type": "http", "path": "/1", "headers": []}, receive, send)
        await guarded({"type": "websocket", "path": "/", "headers": []}, receive, send)
        with trio.move_on_after(0):  # cancelled at the first chance: in the middle of it
            await guarded({"type": "http", "path": "/2", "headers": []}, receive, send)
        await guarded({"type": "http", "path": "/3", "headers": []}, receive, send)
        return sent

    sent = trio.run(main)
    assert sent.count("websocket.send") == 6
    found = texts(store)
    assert found[0] == "/1"
    assert sorted(text for text in found if text[0] != "/") == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert found[-1] == "/3"
    assert len(found) == len(set(found))


@pytest.mark.parametrize("is_down", [False, True])
def test_a_server_that_raises_when_the_client_is_gone(store, is_down, caplog):
    """Some servers say so by OSError from send(): what was said is saved, and the error stays what it was."""

    async def app(scope, receive, send):
        session().add_message("user", "question")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        session().add_message("assistant", "half an answer")
        if is_down:
            session().metadata["x"] = object()  # can not be saved
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def send(message):
        if message["type"] == "http.response.body":
            raise ConnectionResetError("gone")

    guarded = ASGIGuard(app, mode="scope-only", store=store, session_id=lambda request: "c")
    with pytest.raises(ConnectionResetError):
        asyncio.run(guarded({"type": "http", "path": "/", "headers": []}, None, send))
    assert texts(store) == (["question"] if is_down else ["question", "half an answer"])
    assert ("before the client left" in caplog.text) is is_down
