"""Requests that pass while looks are sparse: nobody looks around their steps, until looks become closer."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from stateguard import current_scope, session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.attribution import asyncio_tasks, pieces
from stateguard.attribution.request import current
from stateguard.parallel import PARALLEL
from stateguard.passing import SAMPLED
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


def test_while_state_is_compared_in_slices_requests_pass_as_well_and_stay_suspects(resting, state):
    pace = resting.engine.pace
    pace.slicing = True

    async def app(scope, receive, send):
        assert len(resting.engine.passing.scopes) == 1
        if scope["path"] == "/guilty":
            state.leak()
        if scope["path"].startswith("/look"):
            look_now(resting)
            pace._next_slice = 0 if scope["path"] == "/look-at-it" else 1 << 62
        await answer(send)

    async def main():
        guarded = AsgiGuard(app, guard=resting)
        for path in ("/innocent", "/guilty", "/look", "/later"):
            await call(guarded, path)
        while not resting.leaks:  # a slice may end before it comes to it
            await call(guarded, "/look-at-it")

    asyncio.run(asyncio.wait_for(main(), 30))
    assert not resting.engine.active
    [(confidence, suspects)] = told(resting)
    assert confidence == "suspected"
    assert {"/innocent", "/guilty", "/look", "/later"} <= suspects


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


@pytest.fixture
def no_other_guard(monkeypatch):
    """Guards that other tests have left behind follow no tasks."""
    monkeypatch.setattr(asyncio_tasks, "_followers", weakref.WeakSet())


@pytest.mark.usefixtures("no_other_guard")
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
            for _ in range(SAMPLED + 4):
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
            assert not factory.unsure  # all that it was given unseen has run

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
        for _ in range(SAMPLED + 4):
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


def guilty_and_last(resting, state):
    """A guarded application: /guilty leaks, and /last makes a look due."""

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/guilty":
            state.leak()
        if environ["PATH_INFO"] == "/last":
            look_now(resting)
        return [b"ok"]

    return WsgiGuard(app, guard=resting)


def test_wsgi_requests_that_pass_are_the_suspects_of_the_next_look(resting, state):
    guarded = guilty_and_last(resting, state)
    for path in ("/guilty", "/last"):
        wsgi_call(guarded, path)
    assert told(resting) == [("suspected", {"/guilty", "/last"})]


def test_while_state_is_compared_in_slices_wsgi_requests_pass_as_well_and_stay_suspects(resting, state):
    resting.engine.pace.slicing = True

    guarded = guilty_and_last(resting, state)
    for path in ("/innocent", "/guilty"):
        wsgi_call(guarded, path)
    for _ in range(1_000):
        wsgi_call(guarded, "/last")
        resting.engine.pace._next_slice = 0
        if resting.leaks:  # a slice may end before it comes to it
            break
    assert not resting.engine.active
    [(confidence, suspects)] = told(resting)
    assert confidence == "suspected"
    assert {"/innocent", "/guilty"} <= suspects


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
        resting.engine.passing.weigh()
        assert not resting.engine.passing.open
    finally:
        del sys.modules["passing_test_newcomer"]


# -- nobody else is accused ------------------------------------------------------------------------


def in_a_server(work, *args):
    """A thread as a server has it: what it runs is not application code, unless it is found on its stack."""
    thread = threading.Thread(target=work, args=args)
    thread.start()
    return thread


def exact(guard):
    return [leak.request.path for leak in guard.leaks if leak.confidence == "exact"]


@pytest.mark.parametrize("gait", ["strict", "brief"])
def test_a_stretch_that_began_unseen_stays_a_suspect_after_others_have_looked(resting, state, gait):
    """One thread is inside the application all the time; looks on another one must not forget it."""
    inside, write, wrote, leave = (threading.Event() for _ in range(4))

    def slow(environ, start_response):
        inside.set()
        assert write.wait(10)
        state.leak()
        wrote.set()
        assert leave.wait(10)
        return [b"slow"]

    def quick(environ, start_response):
        if environ["PATH_INFO"] == "/look":
            look_now(resting)
        if environ["PATH_INFO"] == "/innocent":
            write.set()
            assert wrote.wait(10)
        return [b"quick"]

    thread = in_a_server(wsgi_call, WsgiGuard(slow, guard=resting), "/guilty")
    assert inside.wait(10)
    guarded = WsgiGuard(quick, guard=resting)
    wsgi_call(guarded, "/look")
    resting.engine.pace.gait = gait
    wsgi_call(guarded, "/between")
    wsgi_call(guarded, "/innocent")
    leave.set()
    thread.join(10)
    assert exact(resting) == []
    [leak] = [leak for leak in resting.leaks if leak.path.endswith("HISTORY")]
    assert "/guilty" in {request.path for request in leak.suspects}


def test_what_is_written_after_a_nested_request_has_looked_is_not_lost(resting, state):
    async def inner(scope, receive, send):
        look_now(resting)
        await answer(send)

    async def outer(scope, receive, send):
        await call(AsgiGuard(inner, guard=resting), "/inner")
        state.leak()
        look_now(resting)
        await answer(send)

    asyncio.run(call(AsgiGuard(outer, guard=resting), "/outer"))
    assert [(confidence, "/outer" in names) for confidence, names in told(resting)] == [("suspected", True)]


def test_what_is_written_in_the_step_that_wakes_the_guard_is_not_lost(resting, state):
    async def app(scope, receive, send):
        wake(resting)
        state.leak()
        await answer(send)

    asyncio.run(call(AsgiGuard(app, guard=resting), "/wakes"))
    assert told(resting) == [("suspected", {"/wakes"})]


def test_a_request_around_another_that_was_guarded_first_is_taken_up_around_it(resting, state):
    async def inner(scope, receive, send):
        await asyncio.sleep(0)
        assert current.get().info.path == "/inner"

    async def outer(scope, receive, send):
        wake(resting)
        await call(AsgiGuard(inner, guard=resting), "/inner")
        await asyncio.sleep(0)

    async def main():
        await call(AsgiGuard(outer, guard=resting), "/outer")
        assert current.get() is None

    asyncio.run(main())
    assert not resting.engine.active


def test_what_one_guard_hands_over_is_a_piece_for_the_other(make_guard, state):
    close = make_guard(process=False, locate="never")
    passes = rest(make_guard(process=False, locate="never"))
    started, write, wrote, leave = (threading.Event() for _ in range(4))

    def work():
        started.set()
        assert write.wait(10)
        state.leak()
        wrote.set()
        assert leave.wait(10)

    async def app(scope, receive, send):
        if scope["path"] == "/guilty":
            await asyncio.to_thread(work)
        else:
            wake(passes)
            await asyncio.sleep(0)
            write.set()
            assert wrote.wait(10)
            await asyncio.sleep(0)
            leave.set()
        await answer(send)

    async def main():
        guarded = AsgiGuard(AsgiGuard(app, guard=close), guard=passes)
        guilty = asyncio.create_task(call(guarded, "/guilty"))
        while not started.is_set():
            await asyncio.sleep(0.001)
        await call(guarded, "/innocent")
        await guilty

    asyncio.run(main())
    assert "/innocent" not in exact(passes) + exact(close)


def test_a_task_of_a_library_that_was_started_unseen_is_not_taken_for_idle(resting, state):
    """It calls what the application has given it; nothing on its stack says so while it waits."""
    library = {"__name__": "some_library"}
    exec(
        "import asyncio\nasync def ticker(call, times):\n    for _ in range(times):\n"
        "        await asyncio.sleep(0.002)\n        call()\n",
        library,
    )

    async def app(scope, receive, send):
        if scope["path"] == "/starts":
            tasks.append(asyncio.create_task(library["ticker"](state.leak, 30)))
        else:
            await asyncio.to_thread(sum, range(3_000_000))
        await answer(send)

    tasks = []

    async def main():
        guarded = AsgiGuard(app, guard=resting)
        await call(guarded, "/starts")
        wake(resting)
        await call(guarded, "/innocent")
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert "/innocent" not in exact(resting)


@pytest.mark.usefixtures("no_other_guard")
def test_another_library_gets_its_call_soon_back(make_guard):
    guard = make_guard()
    seen = []

    async def app(scope, receive, send):
        await answer(send)

    async def main():
        loop = asyncio.get_running_loop()
        original = loop.call_soon

        def instrumented(*args, **options):
            seen.append(args)
            return original(*args, **options)

        loop.call_soon = instrumented
        await call(AsgiGuard(app, guard=guard))
        rest(guard)
        for _ in range(SAMPLED + 4):
            await call(AsgiGuard(app, guard=guard))
        assert vars(loop)["call_soon"] is instrumented
        del loop.call_soon

    asyncio.run(main())
    assert seen


def test_many_threads_at_once_do_not_fail_the_guard(make_guard):
    guard = rest(make_guard(process=False))
    guard.engine.pace.slicing = True

    def app(environ, start_response):
        look_now(guard)
        return [b"ok"]

    guarded = WsgiGuard(app, guard=guard)

    def client(n):
        for i in range(300):
            wsgi_call(guarded, f"/{n}-{i}")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [in_a_server(client, n) for n in range(6)]
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert guard.engine.failures == {}
    assert not guard.engine.passing.scopes
    assert not guard.engine.unseen._under_way


def test_a_lock_that_nobody_gives_back_is_replaced_while_looks_are_sparse(resting, monkeypatch):
    monkeypatch.setattr("stateguard.engine.PATIENCE", 0.05)
    engine = resting.engine
    lock = engine.turn.lock
    held, over = threading.Event(), threading.Event()

    def serve():
        with resting.request("ends when it is time to weigh"):
            engine.pace.next_weighing = 0

    def hold():  # a thread that runs none of the guard's code
        lock.acquire()
        held.set()
        over.wait(30)
        lock.release()

    holder = in_a_server(hold)
    assert held.wait(10)
    served = in_a_server(serve)
    served.join(10)
    over.set()
    holder.join(10)
    assert not served.is_alive()
    # On a free-threaded build what the thread runs cannot be told: it may be looking.
    assert (engine.turn.lock is lock) == PARALLEL


def test_what_is_asked_for_at_each_step_lies_in_slots(resting):
    """One attribute that has none makes reading all the others slower, on some versions."""
    for holder in (resting.engine, resting.engine.passing, resting.engine.finder):
        assert not vars(holder)


def test_while_looks_are_sparse_nobody_waits_for_anothers_look(resting, state):
    looking, looked = threading.Event(), threading.Event()

    def hold():
        with resting.engine.turn.lock:
            looking.set()
            looked.wait(30)

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/guilty":
            state.leak()
        look_now(resting)
        return [b"ok"]

    guarded = WsgiGuard(app, guard=resting)
    holder = in_a_server(hold)
    assert looking.wait(10)
    wsgi_call(guarded, "/guilty")  # it would wait for ever
    assert resting.leaks == []
    looked.set()
    holder.join(10)
    wsgi_call(guarded, "/last")
    assert told(resting) == [("suspected", {"/guilty", "/last"})]


def test_what_ends_while_another_thread_compares_stays_a_suspect(resting, state, monkeypatch):
    """What it writes may come too late for that look, which must not clear it all the same."""
    engine = resting.engine
    began, write = threading.Event(), threading.Event()
    compare = engine.watcher.check
    looks = []

    def check(**how):
        seen = compare(**how)
        looks.append(1)
        if len(looks) == 1:
            write.set()
            for _ in range(10_000):
                if engine.unseen.since:
                    return seen
                time.sleep(0.001)
            pytest.fail("the stretch has not ended")
        return seen

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/guilty":
            began.set()
            assert write.wait(20)
            state.leak()
        else:
            guilty.join(20)
        return [b"ok"]

    guarded = WsgiGuard(app, guard=resting)
    guilty = in_a_server(wsgi_call, guarded, "/guilty")
    assert began.wait(20)
    monkeypatch.setattr(engine.watcher, "check", check)
    wake(resting)
    wsgi_call(guarded, "/innocent")
    assert resting.leaks
    assert "/innocent" not in exact(resting)
