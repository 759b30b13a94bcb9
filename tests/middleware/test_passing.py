"""Requests that pass while looks are sparse: nobody looks around their steps, until looks become closer."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stateguard import current_scope, session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.attribution import pieces
from stateguard.attribution.request import current
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.conftest import rest, wake
from tests.middleware.exchanges import OK, http_scope


@pytest.fixture
def resting(make_guard):
    """A guard whose requests pass."""
    return rest(make_guard(locate="never", process=False))


def look_now(guard):
    """A look is due."""
    guard.engine.pace.next_look = 0


async def answer(send):
    for message in OK:
        await send(message)


async def call(app, path="/", **more):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        """Nobody listens."""

    await app(http_scope(path=path, headers=[(b"x-request-id", path.encode())], **more), receive, send)


def wsgi_call(app, path="/"):
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO()}
    body = app(environ, lambda *args: None)
    try:
        return b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()


def told(guard):
    return [(leak.confidence, {request.path for request in leak.suspects}) for leak in guard.leaks]


# -- ASGI ------------------------------------------------------------------------------------------


def test_a_request_has_a_session_of_its_own_and_leaves_nothing(resting):
    seen = []

    async def app(scope, receive, send):
        seen.append(session())
        assert len(resting.engine.passing.scopes) == 1
        assert current.get() is None
        await answer(send)

    async def main():
        for _ in range(2):
            await call(AsgiGuard(app, guard=resting))
        assert current_scope() is None

    asyncio.run(main())
    assert seen[0] is not seen[1]
    assert not resting.engine.passing.scopes
    assert not resting.engine.active
    assert resting.stats.requests == 2


def test_what_one_has_changed_is_seen_by_the_next_look_which_names_all_that_passed(resting, state):
    async def app(scope, receive, send):
        if scope["path"] == "/guilty":
            state.leak()
        if scope["path"] == "/last":
            look_now(resting)
        await answer(send)

    async def main():
        guarded = AsgiGuard(app, guard=resting)
        for path in ("/innocent", "/guilty", "/last"):
            await call(guarded, path)

    asyncio.run(main())
    assert told(resting) == [("suspected", {"/innocent", "/guilty", "/last"})]
    assert resting.leaks[0].suspects[0].id.startswith("/")


def test_a_request_is_taken_up_when_looks_become_closer(resting, state):
    """What it does from then on is proven, as if it had never passed."""

    async def app(scope, receive, send):
        await asyncio.sleep(0)
        wake(resting)
        await asyncio.sleep(0)
        assert current.get().info.path == scope["path"]
        assert not resting.engine.passing.scopes
        await asyncio.sleep(0)
        state.leak()
        await asyncio.create_task(child())
        await answer(send)

    async def child():
        state.AGENT.messages.append("x")

    async def main():
        await call(AsgiGuard(app, guard=resting), "/long")
        assert current.get() is None
        assert current_scope() is None

    asyncio.run(main())
    proven = [leak for leak in resting.leaks if leak.confidence == "exact"]
    assert [leak.request.path for leak in proven] == ["/long"] * len(proven)
    assert [leak.path.rpartition(".")[2] for leak in proven[-2:]] == ["HISTORY", "messages"]
    assert not resting.engine.active


def test_two_that_are_under_way_are_told_apart_once_they_are_taken_up(resting, state):
    async def app(scope, receive, send):
        for _ in range(5):
            await asyncio.sleep(0)
        wake(resting)
        for n in range(5):
            await asyncio.sleep(0)
            if n == 3 and scope["path"] == "/guilty":
                state.leak()
        await answer(send)

    async def main():
        guarded = AsgiGuard(app, guard=resting)
        await asyncio.gather(*(call(guarded, path) for path in ("/a", "/guilty", "/b")))

    asyncio.run(main())
    [leak] = resting.leaks
    assert (leak.confidence, leak.request.path) == ("exact", "/guilty")


@pytest.mark.parametrize("looks", ["sparse", "close"])
def test_cancellation_and_exceptions_pass_through(resting, looks):
    ended = []

    async def app(scope, receive, send):
        if looks == "close":
            wake(resting)
        try:
            if scope["path"] == "/fails":
                raise LookupError("mine")
            await asyncio.sleep(60)
        finally:
            ended.append(scope["path"])

    async def main():
        guarded = AsgiGuard(app, guard=resting)
        with pytest.raises(LookupError, match="mine"):
            await call(guarded, "/fails")
        task = asyncio.create_task(call(guarded, "/slow"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["/fails", "/slow"]
    assert not resting.engine.passing.scopes
    assert not resting.engine.active


def test_an_application_wrapped_twice_is_one_request(resting):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(current_scope())
        await answer(send)

    async def between(scope, receive, send):
        wake(resting)  # between the outer layer and the inner one
        await AsgiGuard(app, guard=resting)(scope, receive, send)

    asyncio.run(call(AsgiGuard(between, guard=resting)))
    assert resting.stats.requests == 1
    assert scopes[0].parent is None


def test_two_guards_around_one_exchange_share_its_session(make_guard):
    inner, outer = rest(make_guard()), rest(make_guard())
    seen = []

    async def app(scope, receive, send):
        seen.append(session())
        await answer(send)

    async def between(scope, receive, send):
        session().user_id = "ann"
        await AsgiGuard(app, guard=inner)(scope, receive, send)

    asyncio.run(call(AsgiGuard(between, guard=outer)))
    assert seen[0].user_id == "ann"
    assert inner.stats.requests == outer.stats.requests == 1


def test_the_loop_is_given_back_its_factory_and_its_method_while_requests_pass(make_guard):
    guard = make_guard()

    async def app(scope, receive, send):
        await answer(send)

    async def main():
        loop = asyncio.get_running_loop()
        guarded = AsgiGuard(app, guard=guard)
        await call(guarded)
        factory, soon = loop.get_task_factory(), loop.call_soon
        assert factory is not None
        for n in range(3):
            rest(guard)
            for _ in range(20):
                await call(guarded)
            assert loop.get_task_factory() is None
            assert "call_soon" not in vars(loop)
            overseer = pieces._loops[threading.get_ident()]
            assert overseer(lambda module: False)  # nothing is known of this thread
            wake(guard)
            await call(guarded)
            assert loop.get_task_factory() is factory
            assert loop.call_soon.__code__ is soon.__code__
            assert loop.call_soon.__closure__[0].cell_contents.__func__ is type(loop).call_soon, n
            assert overseer(lambda module: False)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not overseer(lambda module: False)  # all that it was given unseen has run

    asyncio.run(main())


def test_a_second_guard_that_looks_closely_keeps_the_tasks_followed(make_guard, state):
    close, sparse = make_guard(process=False), make_guard(process=False, locate="never")

    async def app(scope, receive, send):
        await asyncio.create_task(child())
        await answer(send)

    async def child():
        state.leak()

    async def main():
        await call(AsgiGuard(app, guard=close))
        await call(AsgiGuard(app, guard=sparse))
        rest(sparse)
        for _ in range(20):
            await call(AsgiGuard(app, guard=sparse))
        assert asyncio.get_running_loop().get_task_factory() is not None
        await call(AsgiGuard(app, guard=close), "/close")

    asyncio.run(main())
    assert (close.leaks[-1].confidence, close.leaks[-1].request.path) == ("exact", "/close")


def test_work_handed_to_a_thread_is_a_piece_of_no_request(resting, state):
    async def app(scope, receive, send):
        await asyncio.to_thread(state.leak)
        look_now(resting)
        await answer(send)

    asyncio.run(call(AsgiGuard(app, guard=resting), "/hands-over"))
    assert told(resting) == [("suspected", {"/hands-over"})]


# -- WSGI ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", ["contextvar", "thread-local"])
def test_a_wsgi_body_keeps_its_scope_and_its_place_until_it_is_closed(make_guard, carrier):
    guard = rest(make_guard(scope=carrier))
    seen = []

    def app(environ, start_response):
        session().user_id = environ["PATH_INFO"]
        return body()

    def body():
        try:
            yield b"one"
            seen.append(session().user_id)
            yield b"two"
        finally:
            seen.append(session().user_id)

    guarded = WsgiGuard(app, guard=guard)
    with ThreadPoolExecutor(1) as pool:  # one thread, which serves two requests in turns
        bodies = [
            pool.submit(guarded, {"PATH_INFO": path, "wsgi.input": io.BytesIO()}, print).result(10)
            for path in ("/a", "/b")
        ]
        for each in bodies * 2:
            pool.submit(next, each).result(10)
        assert len(guard.engine.passing.scopes) == 2
        for each in bodies:
            pool.submit(each.close).result(10)
        assert pool.submit(current_scope).result(10) is None
    assert seen == ["/a", "/b", "/a", "/b"]
    assert not guard.engine.passing.scopes


def test_wsgi_requests_that_pass_are_the_suspects_of_the_next_look(resting, state):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/guilty":
            state.leak()
        if environ["PATH_INFO"] == "/last":
            look_now(resting)
        return [b"ok"]

    guarded = WsgiGuard(app, guard=resting)
    for path in ("/guilty", "/last"):
        wsgi_call(guarded, path)
    assert told(resting) == [("suspected", {"/guilty", "/last"})]


def test_a_wsgi_request_is_taken_up_between_two_pieces_of_its_body(resting, state):
    def app(environ, start_response):
        yield b"one"
        wake(resting)
        yield b"two"
        assert current.get().info.path == "/streams"
        state.leak()
        yield b"three"

    def scenario():
        assert wsgi_call(WsgiGuard(app, guard=resting), "/streams") == b"onetwothree"
        assert current.get() is None
        assert current_scope() is None

    scenario()
    assert {leak.request.path for leak in resting.leaks if leak.request} <= {"/streams"}
    assert [leak.path.rpartition(".")[2] for leak in resting.leaks] == ["HISTORY"]
    assert not resting.engine.active


def test_a_wsgi_application_wrapped_twice_is_one_request(resting):
    def app(environ, start_response):
        return [str(current_scope().parent is None).encode()]

    inner = WsgiGuard(app, guard=resting)

    def between(environ, start_response):
        wake(resting)
        return inner(dict(environ), start_response)  # as middlewares do

    assert wsgi_call(WsgiGuard(between, guard=resting)) == b"True"
    assert resting.stats.requests == 1


def test_a_body_that_nobody_closes_gives_its_place_back(resting):
    def app(environ, start_response):
        yield b"one"

    body = WsgiGuard(app, guard=resting)({"PATH_INFO": "/"}, print)
    assert next(body) == b"one"
    assert len(resting.engine.passing.scopes) == 1
    del body
    assert not resting.engine.passing.scopes


def test_thread_locals_are_minded_whatever_the_pace(make_guard, state):
    state.LOCAL = threading.local()
    guard = rest(make_guard())
    assert guard.engine.locals.watched

    def app(environ, start_response):
        state.LOCAL.user = "ann"
        return [b"ok"]

    wsgi_call(WsgiGuard(app, guard=guard), "/leaves")
    [leak] = guard.leaks
    assert leak.request.path == "/leaves"


def test_a_nested_client_has_a_scope_inside(resting):
    def inner(environ, start_response):
        return [str(current_scope().parent is not None).encode()]

    def outer(environ, start_response):
        mine = current_scope()
        text = wsgi_call(WsgiGuard(inner, guard=resting), "/inner")
        assert current_scope() is mine
        return [text]

    assert wsgi_call(WsgiGuard(outer, guard=resting), "/outer") == b"True"
    assert resting.stats.requests == 2


def test_scope_only_serves_every_kind_of_body(make_guard):
    guard = make_guard(mode="scope-only")

    def lists(environ, start_response):
        return [session().user_id or b"list"]

    def yields(environ, start_response):
        mine = session()
        yield b"y"
        assert session() is mine
        yield b"z"

    assert wsgi_call(WsgiGuard(lists, guard=guard)) == b"list"
    assert wsgi_call(WsgiGuard(WsgiGuard(yields, guard=guard), guard=guard)) == b"yz"
    assert current_scope() is None


def test_modules_that_come_later_end_the_passing(resting):
    sys.modules["passing_test_newcomer"] = sys
    try:
        assert not resting.engine.passing.possible()
    finally:
        del sys.modules["passing_test_newcomer"]
