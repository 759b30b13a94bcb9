"""Session fixation: a new id at log-in, whatever other requests of the session do meanwhile."""

from __future__ import annotations

import flask
import httpx
import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient

from stateguard import session
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.errors import ConfigError, SessionConflict
from stateguard.sessions import SignedCookie, SignedHeader, SQLiteStore, renew_session
from stateguard.sessions.renew import renew
from stateguard.sessions.steps import run
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard
from tests.sessions.turns import load, say

SECRET = "a secret of at least 16 bytes"


def texts():
    return [message["content"] for message in session().history]


def log_in(user):
    renew_session()
    session().user_id = user
    session().add_message("user", f"I am {user}")


def asgi_client(**options):
    app = FastAPI()

    @app.get("/say/{text}")
    async def say(text: str):
        session().add_message("user", text)
        return texts()

    @app.get("/login/{user}")
    async def login(user: str):
        log_in(user)
        return texts()

    @app.get("/whoami")
    async def whoami():
        return [session().session_id, session().user_id]

    @app.websocket("/ws")
    async def ws(socket: WebSocket):
        log_in("ada")
        await socket.accept()
        with pytest.raises(ConfigError, match="response has started"):
            renew_session()
        await socket.send_json(texts())
        await socket.close()

    app.add_middleware(ASGIGuard, mode="scope-only", **options)
    return TestClient(app)


def wsgi_client(**options):
    app = flask.Flask("app")

    @app.get("/say/<text>")
    def say(text):
        session().add_message("user", text)
        return flask.jsonify(texts())

    @app.get("/login/<user>")
    def login(user):
        log_in(user)
        return flask.jsonify(texts())

    @app.get("/whoami")
    def whoami():
        return flask.jsonify([session().session_id, session().user_id])

    app.wsgi_app = WSGIGuard(app.wsgi_app, mode="scope-only", **options)
    return httpx.Client(transport=httpx.WSGITransport(app), base_url="http://testserver")


@pytest.mark.parametrize("make_client", [asgi_client, wsgi_client])
@pytest.mark.parametrize("on_conflict", ["merge", "raise", "lock"])
def test_a_planted_session_is_not_the_one_that_logs_in(make_client, on_conflict, make_store):
    store = make_store(on_conflict=on_conflict)
    with (
        make_client(store=store, session_id=SignedCookie(SECRET)) as attacker,
        make_client(store=store, session_id=SignedCookie(SECRET)) as victim,
    ):
        attacker.get("/say/planted")
        planted = attacker.cookies["stateguard_session"]
        victim.cookies.set("stateguard_session", planted)
        answer = victim.get("/login/ada")
        assert answer.json() == ["planted", "I am ada"]
        assert answer.headers["set-cookie"].startswith("stateguard_session=")
        victim.cookies.clear()
        victim.cookies.set(
            "stateguard_session", answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        )
        assert victim.get("/say/secret").json() == ["planted", "I am ada", "secret"]
        assert victim.get("/whoami").json()[1] == "ada"
        assert attacker.get("/say/let me see").json() == ["let me see"]
        assert attacker.get("/whoami").json()[0] != victim.get("/whoami").json()[0]


@pytest.mark.parametrize("make_client", [asgi_client, wsgi_client])
def test_logging_in_first_thing(make_client, tmp_path):
    store = SQLiteStore(tmp_path / "s.db")
    source = SignedHeader(SECRET)
    with make_client(store=store, session_id=source) as client:
        first = client.get("/login/ada")
        headers = {"X-Session-ID": first.headers["x-session-id"]}
        assert client.get("/say/more", headers=headers).json() == ["I am ada", "more"]
        found, user = client.get("/whoami", headers=headers).json()
        assert source.sign(found).partition(".")[0] == headers["X-Session-ID"].partition(".")[0]
        assert user == "ada"
    store.close()


def test_websocket(tmp_path):
    store = SQLiteStore(tmp_path / "s.db")
    with asgi_client(store=store, session_id=SignedCookie(SECRET)) as client:
        client.get("/say/before")
        before = client.cookies["stateguard_session"]
        with client.websocket_connect("/ws") as socket:
            cookies = [value for name, value in socket.extra_headers if name == b"set-cookie"]
            assert socket.receive_json() == ["before", "I am ada"]
        (cookie,) = cookies
        value = cookie.decode().partition(";")[0].partition("=")[2]
        client.cookies.clear()
        client.cookies.set("stateguard_session", before)
        assert client.get("/say/after").json() == ["after"]
        client.cookies.clear()
        client.cookies.set("stateguard_session", value)
        assert client.get("/say/after").json() == ["before", "I am ada", "after"]
    store.close()


def test_ids_of_the_applications_own(tmp_path):
    store = SQLiteStore(tmp_path / "s.db")
    with (
        asgi_client(store=store, session_id=lambda request: "mine") as client,
        pytest.raises(ConfigError, match="function of its own"),
    ):
        client.get("/login/ada")
    store.close()


def test_what_others_save_meanwhile_moves_too(make_store):
    store = make_store(window=2)
    for number in range(5):
        store.update("s", say(str(number)))
    checkout = load(store)
    late = load(store)
    checkout.session.add_message("user", "login")
    steps = renew(checkout, "new")
    answer = None
    said = 0
    while True:
        try:
            step = steps.send(answer)
        except StopIteration:
            break
        if step.name == "delete" and said < 2 and step.args == ("s",):
            said += 1
            store.update("s", say(f"meanwhile {said}"))
        answer = getattr(store, step.name)(*step.args, **(step.kwargs or {}))
    assert store.read("s") is None
    late.session.add_message("user", "too late")
    with pytest.raises(SessionConflict, match="deleted"):
        run(store, late.save())
    checkout.session.add_message("user", "after")
    run(store, checkout.save())
    everything = make_store()
    found = load(everything, "new").session
    assert [m["content"] for m in found.history] == [
        *"01234",
        "login",
        "meanwhile 1",
        "meanwhile 2",
        "after",
    ]
    assert found.session_id == "new"


def test_others_that_never_stop(make_store):
    store = make_store()
    store.update("s", say("0"))
    checkout = load(store)
    said = []

    def carry_out(steps):
        answer = None
        while True:
            step = steps.send(answer)
            if step.name == "delete" and step.args == ("s",):
                store.update("s", say("more"))
                said.append("more")
            answer = getattr(store, step.name)(*step.args, **(step.kwargs or {}))

    with pytest.raises(SessionConflict, match="keeps the old one"):
        carry_out(renew(checkout, "new"))
    assert store.read("new") is None
    assert checkout.session.session_id == "s"
    assert len(load(store).session.history) == 1 + len(said) > 5


def test_a_session_that_is_a_dict(make_store):
    store = make_store()
    checkout = load(store, factory=dict)
    checkout.session["cart"] = ["book"]
    run(store, checkout.save())
    run(store, renew(checkout, "new"))
    assert store.read("s") is None
    assert load(store, "new", dict).session["cart"] == ["book"]
    assert load(store, "new", dict).session["session_id"] == "new"
    assert not run(store, checkout.save())
