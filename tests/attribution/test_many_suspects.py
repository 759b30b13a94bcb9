"""More requests may have done it than a leak lists: it says so, and how many they were."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import types

import pytest

from stateguard import Guard
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.leak import LISTED, SUSPECTS
from stateguard.report.text import render_leak
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.conftest import rest
from tests.middleware.exchanges import OK, http_scope

MODULE = "tests.attribution.many"


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    for n in range(30):
        setattr(module, f"T{n}", {k: k for k in range(50)})
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


@pytest.fixture
def guard(state):
    """Looks are sparse, and none is due."""
    guard = rest(Guard(watch=[MODULE], process=False, locate="never"))
    yield guard
    guard.close()


def who(leak):
    return {request.path for request in leak.suspects}


# -- sparse looks ----------------------------------------------------------------------------------


def by_asgi(guard, work):
    async def app(scope, receive, send):
        work(scope["path"])
        for message in OK:
            await send(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        """Nobody listens."""

    guarded = AsgiGuard(app, guard=guard)
    with asyncio.Runner() as runner:
        yield lambda path: runner.run(guarded(http_scope(path=path), receive, send))


def by_wsgi(guard, work):
    def app(environ, start_response):
        work(environ["PATH_INFO"])
        return [b"ok"]

    guarded = WsgiGuard(app, guard=guard)

    def call(path):
        body = guarded({"REQUEST_METHOD": "GET", "PATH_INFO": path}, lambda *args: None)
        b"".join(body)
        if hasattr(body, "close"):
            body.close()

    yield call


def by_hand(guard, work):
    def call(path):
        with guard.request(path):
            work(path)

    yield call


@pytest.mark.parametrize("way", [by_asgi, by_wsgi, by_hand])
@pytest.mark.parametrize("guilty", [3, "last but one"])
@pytest.mark.parametrize("requests", [2 * LISTED, SUSPECTS, LISTED, LISTED - 1])
def test_between_two_looks(guard, state, way, requests, guilty):
    guilty = requests - 2 if guilty == "last but one" else guilty

    def work(path):
        if path == f"/{guilty}":
            state.T0["who"] = path
        if path == f"/{requests - 1}":
            guard.engine.pace.next_look = 0

    for call in way(guard, work):
        for n in range(requests):
            call(f"/{n}")
    [leak] = guard.leaks
    assert leak.confidence == "suspected"
    assert leak.request is None
    assert leak.suspect_count == requests
    if requests <= LISTED:
        assert not leak.suspects_cut
        assert leak.suspect_count_exact
        assert who(leak) == {f"/{n}" for n in range(requests)}
        assert f"one of {requests} requests whose code" in render_leak(leak)
        assert "about" not in render_leak(leak)
    else:
        assert leak.suspects_cut
        assert len(leak.suspects) == LISTED
        assert not leak.suspect_count_exact
        assert f"one of about {requests} requests whose code was running then; {LISTED} of" in (
            render_leak(leak)
        )


def test_a_look_ends_what_is_counted(guard, state):
    def work(path):
        if path == "/look":
            guard.engine.pace.next_look = 0
        if path == "/guilty":
            state.T0["who"] = path

    for call in by_wsgi(guard, work):
        for n in range(500):
            call(f"/{n}")
        call("/look")
        guard.engine.pace.next_look = 1 << 62
        for path in ("/innocent", "/guilty", "/look"):
            call(path)
    [leak] = guard.leaks
    assert leak.suspect_count_exact
    assert who(leak) == {"/innocent", "/guilty", "/look"}


def beside(guard, held, work, last):
    """So many requests wait in the middle of their work while one of ``last`` after the other is served."""
    release = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"].startswith("/held"):
            await release.wait()
        work(scope["path"])
        for message in OK:
            await send(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        """Nobody listens."""

    async def main():
        guarded = AsgiGuard(app, guard=guard)
        tasks = [
            asyncio.create_task(guarded(http_scope(path=f"/held{n}"), receive, send)) for n in range(held)
        ]
        await asyncio.sleep(0)
        for path in last:
            await guarded(http_scope(path=path), receive, send)
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_those_in_flight_are_counted_as_well(guard, state):
    """All are remembered, and so counted exactly; that the list is bounded is said all the same."""
    held = LISTED * 6 // 10

    def work(path):
        if path == "/guilty":
            state.T0["who"] = 1
        if path == "/last":
            guard.engine.pace.next_look = 0

    beside(guard, held, work, [*(f"/{n}" for n in range(held - 2)), "/guilty", "/last"])
    [leak] = guard.leaks
    assert (leak.suspect_count, leak.suspect_count_exact, leak.suspects_cut) == (2 * held, True, True)
    assert f"one of {2 * held} requests whose code was running then; {LISTED} of" in render_leak(leak)


@pytest.mark.parametrize("held", [LISTED + 150, LISTED - 1])
@pytest.mark.parametrize("close", [True, False], ids=["close looks", "sparse looks"])
def test_how_many_others_were_in_flight(guard, state, held, close):
    if close:
        guard = Guard(watch=[MODULE], process=False, locate="never", budget=1.0)
        guard.start()

    def work(path):
        if path == "/guilty":
            state.T0["who"] = 1
            guard.engine.pace.next_look = 0

    try:
        beside(guard, held, work, ["/guilty"])
        [leak] = guard.leaks
    finally:
        guard.close()
    assert (leak.request is not None) is close
    others = held if close else held + 1  # if nobody is guilty, this one is one of them
    assert leak.in_flight_count == others
    assert len(leak.in_flight) == min(others, LISTED)
    assert leak.in_flight_cut is (others > LISTED)
    assert f"{others} other requests were in flight and could read it: " in render_leak(leak)
    assert f" and {others - 4} more" in render_leak(leak)


def test_how_many_others_were_in_flight_until_it_was_put_back(state):
    guard = Guard(watch=[MODULE], process=False, locate="never", budget=1.0)
    guard.start()
    held = LISTED + 50

    async def flip():
        state.T0["who"] = 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del state.T0["who"]

    async def main():
        release = asyncio.Event()
        before = [asyncio.create_task(guard.run(f"{n}", release.wait())) for n in range(held)]
        await asyncio.sleep(0)
        flipping = asyncio.create_task(guard.run("flipping", flip()))
        await asyncio.sleep(0)
        after = [asyncio.create_task(guard.run(f"late {n}", release.wait())) for n in range(20)]
        await flipping
        release.set()
        await asyncio.gather(*before, *after)

    try:
        asyncio.run(main())
        [leak] = guard.leaks
    finally:
        guard.close()
    assert leak.restored
    assert len(leak.in_flight) == LISTED
    assert leak.in_flight_count == held + 20


def test_of_too_many_one_of_each_kind_is_listed_first(guard, state):
    with guard.request("/write", method="POST"):
        pass
    for n in range(LISTED):
        if n == LISTED - 5:
            with guard.request("/other"):
                state.T0["who"] = 1
        with guard.request("/health"):
            if n == LISTED - 1:
                guard.engine.pace.next_look = 0
    [leak] = guard.leaks
    assert leak.suspects_cut
    assert len({request.id for request in leak.suspects}) == LISTED
    assert {request.path for request in leak.suspects[:3]} == {"/write", "/health", "/other"}


@pytest.mark.parametrize("where", ["query", "cookie", "body"])
@pytest.mark.parametrize("requests", [2 * LISTED, LISTED])
def test_credentials_of_those_who_are_forgotten_are_not_shown(state, requests, where):
    guard = rest(Guard(watch=[MODULE], process=False, locate="never", show_values=True))
    secret, key = "correct-horse-battery", "key-of-a-session"

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/guilty":
            state.T0[key] = secret
        if environ["PATH_INFO"] == "/look":
            guard.engine.pace.next_look = 0
        return [b"ok"]

    guarded = WsgiGuard(app, guard=guard)
    try:
        for path in (*(f"/{n}" for n in range(requests - 2)), "/guilty", "/look"):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
            if path == "/guilty" and where == "query":
                environ["QUERY_STRING"] = f"password={secret}&token={key}"
            elif path == "/guilty" and where == "cookie":
                environ["HTTP_COOKIE"] = f"first={secret}; second={key}"
            elif path == "/guilty":
                environ["wsgi.input"] = io.BytesIO(json.dumps({"password": secret, "token": key}).encode())
            list(guarded(environ, lambda *args: None))
        [leak] = guard.leaks
    finally:
        guard.close()
    assert leak.suspects_cut is ("/guilty" not in who(leak)) is (requests > LISTED)
    told = f"{leak!r} {render_leak(leak)}"
    assert secret not in told
    assert key not in told
    assert leak.root == f"{MODULE}.T0"


# -- what is compared once per request --------------------------------------------------------------


@pytest.mark.parametrize("requests", [3 * LISTED, LISTED - 1])
def test_a_function_that_was_changed(state, requests):
    exec("def price(): return 1", vars(state))
    guard = Guard(
        watch=[MODULE], process=False, locate="never", max_pause=10
    )  # however slow looks are here, no slices
    pace = guard.engine.pace
    try:
        guard.start()
        pace.gait, pace._next_deep, pace.next_weighing = "brief", sys.maxsize, sys.maxsize
        for n in range(requests):
            with guard.request(f"/{n}"):
                if n == requests - 2:
                    state.price.__defaults__ = (1,)
                if n == requests - 1:
                    pace._next_deep = pace.next_weighing = 0
        [leak] = guard.leaks
        assert leak.suspect_count == requests
        assert leak.suspects_cut is (requests > LISTED)
        assert leak.suspect_count_exact is (requests <= LISTED)
    finally:
        guard.close()


# -- slices ----------------------------------------------------------------------------------------


@pytest.fixture
def sliced(guard):
    """State is compared in slices, none of which is due."""
    as_set(guard)
    guard.engine.pace._next_slice = sys.maxsize
    guard.engine.slices.slow_down()
    return guard


def whole_round(guard):
    engine = guard.engine
    rounds = guard.stats.rounds
    while guard.stats.rounds == rounds:
        with engine.turn.lock:
            engine.pace._next_slice = 0
            engine.slices.look()
    engine.pace._next_slice = sys.maxsize


def as_set(guard):
    """Whatever looking costs here."""
    guard.engine.pace.gait = "strict"
    guard.engine.pace.slicing = True


def serve(guard, name, times):
    for n in range(times):
        as_set(guard)
        with guard.request(f"{name}{n}"):
            pass


def write(guard, state, name=None):
    as_set(guard)
    with guard.request("guilty"):
        if name is None:
            state.T7["who"] = 1
        else:
            setattr(state, name, 1)


@pytest.mark.parametrize("before", [0, 7])
def test_slices_count_the_requests_of_a_round(sliced, state, before):
    whole_round(sliced)
    serve(sliced, "before", before)
    write(sliced, state)
    serve(sliced, "after", 3 * LISTED)
    whole_round(sliced)
    whole_round(sliced)
    [leak] = sliced.leaks
    assert leak.suspects_cut
    assert len(leak.suspects) == LISTED
    assert not leak.suspect_count_exact
    assert before + 1 + 3 * LISTED <= leak.suspect_count <= before + 2 + 3 * LISTED
    assert f"one of about {leak.suspect_count} requests" in render_leak(leak)


def test_who_was_served_in_earlier_rounds_is_no_suspect_of_slices(sliced, state):
    for n in range(LISTED // 2):
        serve(sliced, f"earlier-{n}-", 4)
        whole_round(sliced)
    write(sliced, state)
    serve(sliced, "after", 4)
    whole_round(sliced)
    whole_round(sliced)
    [leak] = sliced.leaks
    assert not leak.suspects_cut
    assert "guilty" in who(leak)
    assert len(leak.suspects) < 20
    assert not [path for path in who(leak) if path.startswith("earlier-1-")]


@pytest.mark.parametrize("times", [3 * LISTED, 9])
@pytest.mark.parametrize("deep", [False, True])
def test_when_slices_end(sliced, state, times, deep):
    engine = sliced.engine
    whole_round(sliced)
    write(sliced, state, "new" if deep else None)
    serve(sliced, "after", times)
    engine.pace.slicing = False
    with engine.turn.lock:
        engine.look()
        engine.look_deep()
    assert sliced.leaks
    for leak in sliced.leaks:
        assert leak.suspects_cut is (times > LISTED)
        assert times <= leak.suspect_count <= times + 3
        assert leak.suspects_cut or "guilty" in who(leak)
