"""What happens once a leak is found: logged, handed to a callable, counted; modes that watch nothing."""

from __future__ import annotations

import json
import logging

import pytest

from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.errors import ConfigError
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.exchanges import OK, converse, hello, http_scope, run, websocket_scope


def serve(guard, work, **scope):
    async def app(scope, receive, send):
        work()
        await send(OK[0])

    return run(converse, AsgiGuard(app, guard=guard), http_scope(**scope))


def test_one_readable_message_with_structured_fields(state, make_guard, caplog):
    serve(make_guard(), state.leak, headers=[(b"x-request-id", b"abc-123")])
    [record] = caplog.records
    assert record.name == "stateguard"
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith(f"shared state appended: {state.__name__}.HISTORY [high, exact, leak ")
    assert "POST /chat (request abc-123)" in message
    assert "tainted" not in message  # the value stays out of the log
    assert record.leak_path == f"{state.__name__}.HISTORY"
    assert record.leak_kind == "appended"
    assert record.leak_severity == "high"
    assert record.leak_confidence == "exact"
    assert record.request_id == "abc-123"
    assert record.leak_id in message
    assert json.loads(json.dumps(record.leak))["path"] == record.leak_path


def test_a_callable_gets_each_distinct_leak_once(state, make_guard):
    given = []
    guard = make_guard(on_leak=given.append, locate="never")
    for _ in range(9):
        serve(guard, state.leak)
    assert [leak.path for leak in given] == [f"{state.__name__}.HISTORY"]
    assert len(guard.leaks) == 9
    assert list(guard.counts.values()) == [9]


def test_a_callable_that_raises_is_reported_once_and_the_guard_goes_on(state, make_guard, caplog):
    def broken(leak):
        raise RuntimeError("broken callable")

    guard = make_guard(on_leak=broken)
    for n in range(6):
        _, outcome = serve(guard, lambda n=n: state.TABLE.__setitem__(f"name{n}", [n]) or state.leak())
        assert outcome == ("returned", None)
    failures = [record for record in caplog.records if record.exc_info]
    assert len(failures) == 1
    assert "broken callable" in str(failures[0].exc_info[1])
    assert guard.watcher is not None
    assert len([leak for leak in guard.leaks if leak.path.endswith("HISTORY")]) == 6


def test_equal_leaks_are_reported_once_and_then_counted(state, make_guard, caplog):
    guard = make_guard(locate="never")
    for _ in range(100):
        serve(guard, state.leak)
    messages = [record.getMessage().splitlines()[0] for record in caplog.records]
    assert len(messages) == 3
    assert [message.rpartition("seen ")[2] for message in messages[1:]] == ["10 times now", "100 times now"]


def test_leaks_are_bounded(state, make_guard):
    guard = make_guard(keep=5)
    for _ in range(12):
        serve(guard, state.leak)
    assert len(guard.leaks) == 5
    assert list(guard.counts.values()) == [12]


def test_distinct_leaks_are_bounded(state, make_guard, monkeypatch, caplog):
    """An application that makes up names cannot make the guard remember them all."""
    monkeypatch.setattr("stateguard.reporter.DISTINCT", 10)
    guard = make_guard()
    for n in range(40):
        serve(guard, lambda n=n: setattr(state, f"made_up_{n}", [n]))
    assert len(guard.counts) == 10
    assert len(guard.leaks) == 40


@pytest.mark.parametrize("way", ["lists and dicts", "slices", "aliases"])
def test_the_path_is_that_of_the_root(way, state, make_guard):
    guard = make_guard()
    alias = state.AGENT.messages
    work = {
        "lists and dicts": lambda: state.AGENT.messages.append("x"),
        "slices": lambda: state.AGENT.messages.__setitem__(slice(0, 0), ["x"]),
        "aliases": lambda: alias.append("x"),
    }[way]
    serve(guard, work)
    assert [leak.path for leak in guard.leaks] == [f"{state.__name__}.AGENT.messages"]


@pytest.mark.parametrize("mode", ["off", "scope-only"])
def test_modes_that_watch_nothing(mode, state, make_guard, caplog):
    guard = make_guard(mode=mode, on_leak="raise")
    assert guard.watcher is None
    _, outcome = serve(guard, state.leak)
    assert outcome == ("returned", None)
    assert guard.leaks == []
    assert not caplog.records
    assert guard.summary() == "no shared state was changed"
    guard.start()
    with guard.request("job"):
        state.leak()
    assert guard.leaks == []


@pytest.mark.parametrize("mode", ["off", "scope-only"])
def test_modes_that_watch_nothing_hand_on_the_servers_own_callables(mode, make_guard):
    async def app(*args):
        return args

    async def receive():
        raise AssertionError

    async def send(message):
        raise AssertionError

    for scope in (http_scope(), websocket_scope(), {"type": "lifespan"}):
        args = (scope, receive, send)
        got = run(AsgiGuard(app, guard=make_guard(mode=mode)), *args)
        assert all(a is b for a, b in zip(got, args, strict=True))


def test_options_are_checked_when_the_middleware_is_made(make_guard):
    guard = make_guard()
    for middleware in (AsgiGuard, WsgiGuard):
        with pytest.raises(ConfigError, match="guard= or options"):
            middleware(hello, guard=guard, on_leak="log")
        with pytest.raises(ConfigError, match="on_leak"):
            middleware(hello, on_leak="shout")
        with pytest.raises(TypeError):
            middleware(hello, guard)
    with pytest.raises(ConfigError, match="thread-local"):
        AsgiGuard(hello, guard=make_guard(scope="thread-local"))


def test_a_closed_guard_serves_on(state, make_guard):
    guard = make_guard()
    serve(guard, state.leak)
    guard.close()
    _, outcome = serve(guard, state.leak)
    assert outcome == ("returned", None)
    assert len(guard.leaks) == 1


def test_a_guard_closed_in_the_middle_of_a_request(state, make_guard):
    guard = make_guard()

    async def app(scope, receive, send):
        guard.close()
        state.leak()
        for message in OK:
            await send(message)

    events, outcome = run(converse, AsgiGuard(app, guard=guard), http_scope())
    assert outcome == ("returned", None)
    assert len(events) == 2
