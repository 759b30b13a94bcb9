"""Requests that pass: how they end, and who is suspected then, where something out of the ordinary comes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import os
import signal
import threading
import types
import weakref

import pytest

from stateguard import current_scope, open_scope, session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.attribution.request import current
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.conftest import rest, wake
from tests.middleware.test_passing import call, exact, in_a_server, look_now, told, wsgi_call


@pytest.fixture
def resting(make_guard):
    """A guard whose requests pass."""
    return rest(make_guard(locate="never", process=False))


@types.coroutine
def pause():
    yield


def test_what_is_looked_at_rarely_is_not_blamed_on_who_came_after_a_look_at_the_rest(resting, state):
    async def app(scope, receive, send):
        if scope["path"] == "/guilty":
            state.leak.__defaults__ = ("another",)
            await waiting.wait()
        else:
            await asyncio.sleep(0)

    async def main():
        guarded = AsgiGuard(app, guard=resting)
        guilty = asyncio.create_task(call(guarded, "/guilty"))
        await asyncio.sleep(0)
        wake(resting)
        await call(guarded, "/innocent")
        waiting.set()
        await guilty

    waiting = asyncio.Event()
    asyncio.run(main())
    assert "/innocent" not in exact(resting)
    assert any("/guilty" in paths for _, paths in told(resting))


def test_what_code_outside_requests_has_done_meanwhile_is_not_proven_of_the_one_that_wakes_the_guard(
    resting, state
):
    state.leak.__defaults__ = ("by a timer",)
    resting.engine.pace.next_weighing = 0

    async def app(scope, receive, send):
        wake(resting)

    asyncio.run(call(AsgiGuard(app, guard=resting), "/innocent"))
    assert exact(resting) == []


def test_a_body_that_is_dropped_leaves_a_suspect(resting, state):
    inside, leave = threading.Event(), threading.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/innocent":
            inside.set()
            assert leave.wait(20)
            return [b"ok"]
        return pieces()

    def pieces():
        state.leak()
        yield b"1"
        yield b"2"

    guarded = WsgiGuard(app, guard=resting)
    wake(resting)
    thread = in_a_server(wsgi_call, guarded, "/innocent")
    assert inside.wait(20)
    rest(resting)
    body = guarded({"REQUEST_METHOD": "GET", "PATH_INFO": "/guilty", "wsgi.input": io.BytesIO()}, print)
    next(body)
    del body
    gc.collect()
    wake(resting)
    leave.set()
    thread.join(20)
    assert "/innocent" not in exact(resting)


@pytest.mark.parametrize("mode", ["on", "scope-only"])
def test_the_first_of_two_in_one_context_may_end_first(make_guard, mode):
    """As where a server steps its requests by hand."""
    guard = make_guard(mode=mode)
    if mode == "on":
        rest(guard)

    async def app(scope, receive, send):
        mine = session()
        await pause()
        if scope["path"] == "/b":  # the one that was entered last
            assert session() is mine

    def serve():
        guarded = AsgiGuard(app, guard=guard)
        both = [call(guarded, "/a"), call(guarded, "/b")]
        for one in both:
            one.send(None)
        for one in both:
            with pytest.raises(StopIteration):
                one.send(None)
        assert current_scope() is None

    contextvars.Context().run(serve)


def test_a_body_that_is_closed_again_later_does_not_bring_its_request_back(resting):
    def app(environ, start_response):
        yield b"1"

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO()}
    body = WsgiGuard(app, guard=resting)(environ, print)
    assert list(body) == [b"1"]
    body.close()
    wake(resting)
    body.close()
    assert not resting.engine.active
    assert current.get() is None


@pytest.mark.parametrize("passes", [True, False])
def test_nothing_stays_where_a_signal_handler_raises_in_a_look(make_guard, passes, monkeypatch):
    class Late(BaseException):
        """What a worker's alarm raises."""

    def late(number, frame):
        raise Late

    guard = make_guard(locate="never", process=False)
    guard.start()
    if passes:
        rest(guard)
    compare, due = guard.engine.watcher.check, []

    def check(**how):
        if due:
            due.clear()
            signal.raise_signal(signal.SIGALRM)
        return compare(**how)

    def app(environ, start_response):
        session().user_id = "ann"
        look_now(guard)
        due.append(True)
        return [b"ok"]

    monkeypatch.setattr(guard.engine.watcher, "check", check)
    before = signal.signal(signal.SIGALRM, late)
    try:
        with pytest.raises(Late):
            wsgi_call(WsgiGuard(app, guard=guard), "/ann")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert current_scope() is None
    assert current.get() is None
    assert not guard.engine.active
    assert not guard.engine.passing.scopes


def test_a_piece_that_asks_for_the_next_piece_keeps_its_session(make_guard):
    class Body:
        pieces = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.pieces += 1
            if self.pieces == 1:
                next(wrapped)
                assert session() is mine[0]
            return b"x"

    def app(environ, start_response):
        mine.append(session())
        return Body()

    mine = []
    guard = make_guard(mode="scope-only")
    wrapped = WsgiGuard(app, guard=guard)({"PATH_INFO": "/", "wsgi.input": io.BytesIO()}, print)
    assert next(wrapped) == b"x"
    assert current_scope() is None


def test_a_scope_is_let_go_of_without_the_collector(make_guard):
    gc.disable()
    try:
        with open_scope() as scope:
            seen = [weakref.ref(scope)]
        del scope
        guard = make_guard(mode="scope-only")

        async def inner(scope, receive, send):
            seen.append(weakref.ref(current_scope()))

        async def outer(scope, receive, send):
            await call(AsgiGuard(inner, guard=guard), "/inner")

        asyncio.run(call(AsgiGuard(outer, guard=guard), "/outer"))
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def test_after_a_fork_the_first_request_has_the_baseline_taken(resting):
    read, write = os.pipe()

    async def app(scope, receive, send):
        os.write(write, b"started" if resting.engine.started else b"not started")

    child = os.fork()
    if not child:
        asyncio.run(call(AsgiGuard(app, guard=resting)))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 20) == b"started"
    os.close(read)
    os.close(write)


def test_of_a_request_that_begins_when_looks_have_become_close_the_body_is_noted(resting, state):
    """Whatever was last known of whether requests may pass."""

    async def app(scope, receive, send):
        state.HISTORY.append((await receive())["body"].decode())

    async def receive():
        return {"type": "http.request", "body": b"my very own words", "more_body": False}

    async def send(message):
        """Nobody listens."""

    wake(resting)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    asyncio.run(AsgiGuard(app, guard=resting)(scope, receive, send))
    assert [leak.severity for leak in resting.leaks] == ["critical"]


def test_requests_that_end_after_the_guard_is_closed_are_not_kept(resting):
    async def app(scope, receive, send):
        await pause()

    one = call(AsgiGuard(app, guard=resting))
    one.send(None)
    resting.close()
    with pytest.raises(StopIteration):
        one.send(None)
    assert not resting.engine.passing.open
    assert not resting.engine.unseen.any()


def test_who_was_in_the_window_already_takes_no_place_of_another(resting, monkeypatch, tmp_path):
    engine, far = resting.engine, 1 << 62

    async def app(scope, receive, send):
        if scope["path"] == "/waits":
            await waiting.wait()
        elif scope["path"] == "/guilty":
            os.chdir(tmp_path)
        else:
            await asyncio.sleep(0)

    async def looking(path, deep=False):
        """A request at whose end a look is due, at what is hardly ever looked at as well if ``deep``."""
        pace = engine.pace
        pace.next_look = 0
        if deep:
            pace.next_weighing = pace._next_deep = 0
        await call(guarded, path)
        pace.gait, pace.next_look, pace.next_weighing = "sparse", far, far
        engine.passing.weigh()

    async def main():
        waits = [asyncio.create_task(call(guarded, "/waits")) for _ in range(70)]
        await asyncio.sleep(0)
        await looking("/first", deep=True)
        assert len(engine.window) >= 70
        waiting.set()
        await asyncio.gather(*waits)
        for _ in range(5):
            await call(guarded, "/innocent")
        await call(guarded, "/guilty")
        await looking("/second")
        paths = {one.request.path for one in engine.window.values() if not hasattr(one, "info")}
        assert {"/innocent", "/guilty"} <= paths

    monkeypatch.chdir(os.getcwd())
    waiting = asyncio.Event()
    guarded = AsgiGuard(app, guard=resting)
    asyncio.run(main())
