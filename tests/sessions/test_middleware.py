"""Stored sessions through the middlewares: loaded, saved, refused, and what the client hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass, field

import flask
import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from stateguard import session
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.errors import ConfigError, SessionStoreError
from stateguard.sessions import MemoryStore, SignedCookie, SignedHeader, SQLiteStore, end_session
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

SECRET = "a secret of at least 16 bytes"


@dataclass
class Asked:
    """What a test needs to steer the application from outside."""

    entered: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


def user_of(request):
    return request.headers.get("x-user")


def texts():
    return [message["content"] for message in session().history]


def fastapi_app(asked):
    app = FastAPI()

    @app.get("/say/{text}")
    async def say(text: str):
        session().add_message("user", text)
        return texts()

    @app.get("/title/{text}")
    async def title(text: str):
        session().metadata["title"] = text
        asked.entered.set()
        await asyncio.to_thread(asked.go.wait, 10)
        return text

    @app.get("/peek")
    def peek():
        return texts()

    @app.get("/nothing")
    def nothing():
        return "ok"

    @app.get("/stream/{text}")
    async def stream(text: str):
        session().add_message("user", text)

        async def body():
            yield b"a"
            await asyncio.sleep(0.01)
            session().add_message("assistant", text.upper())
            yield b"b"

        return StreamingResponse(body())

    @app.get("/late/{text}")
    async def late(text: str):
        async def body():
            session().add_message("assistant", text)
            yield b"late"

        return StreamingResponse(body())

    @app.get("/background/{text}")
    async def background(text: str, tasks: BackgroundTasks):
        tasks.add_task(session().add_message, "assistant", text)
        return "ok"

    @app.get("/big")
    async def big():
        session().metadata["x"] = "x" * 100_000
        return "ok"

    @app.get("/logout")
    async def logout():
        end_session()
        return "bye"

    @app.websocket("/ws")
    async def ws(socket: WebSocket):
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                session().add_message("user", await socket.receive_text())
                await socket.send_json(texts())

    return app


def flask_app(asked):
    app = flask.Flask("app")

    @app.get("/say/<text>")
    def say(text):
        session().add_message("user", text)
        return flask.jsonify(texts())

    @app.get("/title/<text>")
    def title(text):
        session().metadata["title"] = text
        asked.entered.set()
        asked.go.wait(10)
        return flask.jsonify(text)

    @app.get("/peek")
    def peek():
        return flask.jsonify(texts())

    @app.get("/nothing")
    def nothing():
        return "ok"

    @app.get("/stream/<text>")
    def stream(text):
        session().add_message("user", text)

        def body():
            yield b"a"
            session().add_message("assistant", text.upper())
            yield b"b"

        return app.response_class(body())

    @app.get("/late/<text>")
    def late(text):
        def body():
            session().add_message("assistant", text)
            yield b"late"

        return app.response_class(body())

    @app.get("/big")
    def big():
        session().metadata["x"] = "x" * 100_000
        return "ok"

    @app.get("/logout")
    def logout():
        end_session()
        return "bye"

    return app


@pytest.fixture(params=["asgi", "wsgi"])
def make_client(request):
    opened = []

    def make(store, asked=None, **options):
        options = {"session_id": SignedCookie(SECRET), **options}
        if request.param == "asgi":
            client = TestClient(ASGIGuard(fastapi_app(asked), mode="scope-only", store=store, **options))
            opened.append(client)
            return client.__enter__()
        app = flask_app(asked)
        app.wsgi_app = WSGIGuard(app.wsgi_app, mode="scope-only", store=store, **options)
        client = httpx.Client(transport=httpx.WSGITransport(app), base_url="http://testserver")
        opened.append(client)
        return client.__enter__()

    make.kind = request.param
    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def store(tmp_path):
    store = SQLiteStore(tmp_path / "sessions.db", durable=False)
    yield store
    store.close()


def test_a_conversation_goes_on_by_its_cookie(make_client, store):
    ada, bob = make_client(store), make_client(store)
    assert ada.get("/say/one").json() == ["one"]
    assert bob.get("/say/other").json() == ["other"]
    answer = ada.get("/say/two")
    assert answer.json() == ["one", "two"]
    assert "set-cookie" not in answer.headers


def test_the_response_that_hands_out_an_id_is_not_cached(make_client, store):
    client = make_client(store)
    answer = client.get("/nothing")
    assert "set-cookie" not in answer.headers
    answer = client.get("/say/one")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert answer.headers["cache-control"] == "no-store"


def test_signed_header(make_client, store):
    source = SignedHeader(SECRET)
    client = make_client(store, session_id=source)
    first = client.get("/say/one")
    value = first.headers["x-session-id"]
    assert client.get("/say/two", headers={"X-Session-ID": value}).json() == ["one", "two"]
    refused = client.get("/say/three", headers={"X-Session-ID": value.partition(".")[0]})
    assert refused.status_code == 400
    assert refused.json()["error"] == "SessionIdRefused"
    assert value.partition(".")[0] not in refused.content.decode()


def test_id_by_function(make_client, store):
    client = make_client(store, session_id=lambda request: request.headers.get("x-conversation"))
    assert client.get("/say/one", headers={"X-Conversation": "c1"}).json() == ["one"]
    assert client.get("/say/two", headers={"X-Conversation": "c1"}).json() == ["one", "two"]
    assert client.get("/say/new").json() == ["new"]
    assert client.get("/say/x", headers={"X-Conversation": "x" * 1000}).status_code == 400


def test_another_user_is_denied_and_logged(make_client, store, caplog):
    client = make_client(store, session_id=lambda request: "c1", user_id=user_of)
    assert client.get("/say/secret", headers={"X-User": "ada"}).status_code == 200
    with caplog.at_level(logging.WARNING, "stateguard.sessions"):
        for headers in ({"X-User": "bob"}, {}):
            answer = client.get("/peek", headers=headers)
            assert answer.status_code == 403
            assert b"secret" not in answer.content
            assert b"ada" not in answer.content
    assert "belongs to another user" in caplog.text
    assert client.get("/peek", headers={"X-User": "ada"}).json() == ["secret"]


def test_streamed_answers_are_saved_to_the_end(make_client, store):
    client = make_client(store)
    assert client.get("/stream/hi").content == b"ab"
    assert client.get("/peek").json() == ["hi", "HI"]


def test_a_session_first_used_too_late_is_warned_about(make_client, store, caplog):
    client = make_client(store)
    with caplog.at_level(logging.WARNING, "stateguard.sessions"):
        client.get("/late/x")
    if make_client.kind == "asgi" or client.get("/peek").json() == []:
        assert "after its response had started" in caplog.text


def test_a_conflict_is_a_409_and_nothing_is_overwritten(make_client, store):
    asked = Asked()

    def source(request):
        return "c1"

    slow, quick = make_client(store, asked, session_id=source), make_client(store, Asked(), session_id=source)
    slow.get("/say/one")
    answers = []
    thread = threading.Thread(target=lambda: answers.append(slow.get("/title/slow")))
    thread.start()
    assert asked.entered.wait(10)
    store.update("c1", lambda s: s.metadata.update(title="quick"))
    quick.get("/say/two")
    asked.go.set()
    thread.join(20)
    assert answers[0].status_code == 409
    assert answers[0].headers["retry-after"] == "1"
    assert b"slow" not in answers[0].content
    assert store.update("c1", lambda s: (s.metadata, [m["content"] for m in s.history])) == (
        {"title": "quick"},
        ["one", "two"],
    )


def test_logout(make_client, store):
    client = make_client(store)
    client.get("/say/one")
    answer = client.get("/logout")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.get("/peek").json() == []
    with store._connection("count") as db:
        assert db.execute("select count(*) from stateguard_sessions").fetchone() == (0,)


def test_too_large_is_a_413(make_client, tmp_path):
    store = SQLiteStore(tmp_path / "small.db", max_bytes=10_000)
    client = make_client(store)
    client.get("/say/one")
    answer = client.get("/big")
    assert answer.status_code == 413
    assert answer.content.startswith(b'{"error":"SessionTooLarge"')
    assert client.get("/peek").json() == ["one"]
    store.close()


class Broken(MemoryStore):
    """A real store behind a switch: as a server that goes down and comes back."""

    is_down = False
    is_deaf = False

    def read(self, session_id, **part):
        if self.is_down:
            raise SessionStoreError("down", session_id)
        return super().read(session_id, **part)

    def commit(self, commit):
        if self.is_down or self.is_deaf:
            raise SessionStoreError("down", commit.id)
        return super().commit(commit)


def test_store_down_fails_by_default(make_client):
    store = Broken()
    client = make_client(store)
    client.get("/say/one")
    store.is_down = True
    answer = client.get("/say/two")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    store.is_down, store.is_deaf = False, True
    assert client.get("/say/three").status_code == 503  # loaded, handled, but not saved: not confirmed
    store.is_deaf = False
    assert client.get("/peek").json() == ["one"]


def test_store_down_with_fresh_sessions_overwrites_nothing(make_client):
    store = Broken()
    client = make_client(store, on_store_error="fresh")
    client.get("/say/one")
    store.is_down = True
    answer = client.get("/say/two")
    assert answer.status_code == 200
    assert answer.json() == ["two"]
    assert "set-cookie" not in answer.headers
    store.is_down = False
    assert client.get("/peek").json() == ["one"]


def test_a_stream_whose_end_can_not_be_saved_is_cut_off(make_client):
    store = Broken()
    client = make_client(store)
    client.get("/say/one")
    commits = []
    commit = store.commit

    def fail_the_second(change):
        commits.append(change)
        store.is_deaf = len(commits) > 1
        return commit(change)

    store.commit = fail_the_second
    with pytest.raises(SessionStoreError):
        client.get("/stream/x")
    store.is_deaf = False
    store.commit = commit
    assert client.get("/peek").json() == ["one", "x"]


def test_lock_is_given_back(make_client, tmp_path):
    store = SQLiteStore(tmp_path / "locked.db", on_conflict="lock", lock_wait=2)
    client = make_client(store, session_id=lambda request: "c1")
    for path in ("/say/one", "/stream/two", "/nothing", "/missing", "/say/three"):
        client.get(path)
    assert client.get("/peek").json() == ["one", "two", "TWO", "three"]
    assert store.acquire("c1", "free", 1)
    store.close()


def test_background_tasks_are_saved(store):
    with TestClient(
        ASGIGuard(fastapi_app(None), mode="scope-only", store=store, session_id=lambda request: "c1")
    ) as client:
        client.get("/background/x")
    assert store.update("c1", lambda s: [m["content"] for m in s.history]) == ["x"]


def test_websocket_is_saved_message_by_message(store):
    app = ASGIGuard(
        fastapi_app(None), mode="scope-only", store=store, session_id=lambda request: "c1", user_id=user_of
    )
    ada = {"X-User": "ada"}
    with TestClient(app) as client:
        with client.websocket_connect("/ws", headers=ada) as socket:
            for number in range(3):
                socket.send_text(str(number))
                assert len(socket.receive_json()) == number + 1
            socket.send_text("last")
            socket.receive_json()
            assert store.update("c1", lambda s: len(s.history), user_id="ada") == 4
        assert client.get("/peek", headers=ada).json() == ["0", "1", "2", "last"]
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/ws"):
            pass
        assert closed.value.code == 1008


def test_guard_and_store_together(store):
    """The guard watches, the session is stored, and the session is no leak."""
    app = ASGIGuard(
        fastapi_app(None),
        watch=["tests.sessions.test_middleware"],
        on_leak="raise",
        store=store,
        session_id=SignedCookie(SECRET),
    )
    with TestClient(app) as client:
        for _ in range(3):
            client.get("/say/x")
        assert client.get("/peek").json() == ["x", "x", "x"]
    assert app.guard.leaks == []


@pytest.mark.parametrize("middleware", [ASGIGuard, WSGIGuard])
def test_wrong_options_are_said_at_start_up(middleware):
    with pytest.raises(ConfigError, match="SignedCookie"):
        middleware(None, mode="scope-only", store=MemoryStore(), session_id="X-Session-ID")


def test_the_cookie_of_a_former_user_locks_nobody_out(make_client, store):
    client = make_client(store, user_id=user_of)
    client.get("/say/secret", headers={"X-User": "ada"})
    refused = client.get("/peek")
    assert refused.status_code == 403
    assert "Max-Age=0" in refused.headers["set-cookie"]
    assert client.get("/peek").json() == []
