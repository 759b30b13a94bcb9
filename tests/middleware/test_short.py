"""The short way through a middleware: compiled or not, what can be seen of it is the same."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import subprocess
import sys
import types
import weakref
from time import perf_counter_ns, time

import pytest

from stateguard import short
from stateguard.asgi import StateGuardMiddleware
from stateguard.attribution.request import current
from stateguard.attribution.steps import awaited
from stateguard.attribution.unseen import RUNNING
from stateguard.errors import NoActiveScope
from stateguard.parallel import PARALLEL
from stateguard.passing import PassingScope
from stateguard.scope import Scope, current_scope, ended, entered, session
from tests.middleware.conftest import rest, sample_next, wake
from tests.middleware.exchanges import http_scope

SEEDS = 0, 30

CLASSES_STAY = PARALLEL and sys.version_info < (3, 14)
"""A free-threaded CPython 3.13 keeps classes for ever, and what their functions refer to, once it has had a
second thread: then they are never finalized."""


@types.coroutine
def pause(value=None):
    return (yield value)


pytestmark = pytest.mark.usefixtures("no_scopes_by_thread")


@pytest.fixture
def way(resting):
    """The way through a middleware, made of what it may be made of; nothing where there is none."""
    given = _given(resting)
    return None if short.Way is None else (lambda **other: short.Way(**{**given, **other}))


def _given(guard):
    engine = guard.engine
    return {
        "awaited": awaited,
        "by_thread": types.SimpleNamespace(used=False),
        "clock": perf_counter_ns,
        "clocks": {"time": time},
        "current": current,
        "ended": ended,
        "engine": engine,
        "entered": entered,
        "finder": engine.finder,
        "guard": guard,
        "identify": print,
        "pace": engine.pace,
        "passing": engine.passing,
        "running": RUNNING,
        "sampled": 16,
        "scope": PassingScope,
        "scopes": engine.passing.scopes,
        "suspects": 8,
        "tally": engine.tally,
        "unseen": engine.unseen,
    }


async def waits(n=3):
    for _ in range(n):
        await pause()


# -- the same, compiled or not ---------------------------------------------------------------------


def _programs(kind, wrapper, **environment):
    module = f"tests.middleware.{kind}"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, *map(str, SEEDS), wrapper],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def _output(process):
    written, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [json.loads(line) for line in written.splitlines()]


@pytest.mark.parametrize("kind", ["short_program", "short_wsgi_program"])
def test_random_applications_do_the_same_whatever_serves_them(kind):
    started = [
        _programs(kind, "guarded", STATEGUARD_PURE="1"),
        _programs(kind, "guarded", STATEGUARD_PURE=""),
        _programs(kind, "bare"),
    ]
    pure, compiled, bare = map(_output, started)
    assert len(pure) == len(compiled) == len(bare) == SEEDS[1] - SEEDS[0]
    for seed, here, there, alone in zip(range(*SEEDS), pure, compiled, bare, strict=True):
        assert there == here, f"seed {seed}"
        assert all(there[what] == alone[what] for what in alone), f"seed {seed}"


SCOPES = """
from stateguard.passing import SAMPLED, PassingScope
from stateguard.scope import Scope, entered
import gc, sys, weakref

def say(what, do):
    try:
        print(what, do())
    except Exception as error:
        print(what, type(error).__name__, error)

for kind in Scope, PassingScope:
    scope = kind(None, dict, "contextvar", None, None, None)
    print(repr(scope), scope.scope is scope, hasattr(scope, "__dict__"), gc.is_tracked(scope))
    for name in sorted(set(dir(scope)) - {"__slots__"}):
        if not name.startswith("__"):
            say(name, lambda: str(getattr(scope, name)).partition(" at ")[0])
    say("set", lambda: setattr(scope, "other", 1))
    say("account", lambda: setattr(scope, "account", 1) or scope.account)
    say("delete", lambda: delattr(scope, "account"))
    say("delete", lambda: delattr(scope, "account"))
    say("session", lambda: scope.session.update(x=1) or scope.session)
    token = scope.enter()
    print(token is scope, entered.get() is scope)
    scope.leave(token)
    scope.leave(token)
    scope.close()
    say("session", lambda: scope.session)
    print(scope.left, scope.closed, scope.values, entered.get())
    scope.parent = scope
    seen = weakref.ref(scope)
    before = sys.getrefcount(kind)
    del scope, token
    gc.collect()
    print(seen(), sys.getrefcount(kind) - before)
"""


def test_scopes_behave_the_same():
    told = [
        subprocess.run(
            [sys.executable, "-c", SCOPES],
            env={**os.environ, "STATEGUARD_PURE": pure},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for pure in ("1", "")
    ]
    assert told[0] == told[1]
    assert "None -1" in told[0]


# -- wrong arguments -------------------------------------------------------------------------------


def test_a_way_is_made_of_what_it_needs_and_of_nothing_else(way, resting):
    if way is None:
        return
    given = _given(resting)
    with pytest.raises(TypeError):
        short.Way()
    with pytest.raises(TypeError):
        short.Way(given)
    with pytest.raises(TypeError):
        way(another=1)
    for name in given:
        with pytest.raises(TypeError):
            short.Way(**{key: value for key, value in given.items() if key != name})
    for name, wrong in [
        ("scope", object),
        ("scope", 5),
        ("entered", None),
        ("current", "x"),
        ("scopes", None),
        ("scopes", []),
        ("sampled", 0),
        ("sampled", "x"),
        ("suspects", None),
        ("running", None),
    ]:
        with pytest.raises(TypeError):
            way(**{name: wrong})


def test_what_has_not_been_opened_is_neither_served_nor_closed(way, resting):
    if way is None:
        return
    one = way()
    for wrong in (None, 5, short.ScopeFields(), Scope(None, dict)):
        with pytest.raises(TypeError):
            one.close(wrong)
        with pytest.raises(TypeError):
            one.serve(None, wrong)
    with pytest.raises(TypeError):
        one.serve(None)
    assert one.open(None) is None
    assert one.open({}) is None


def test_types_are_not_told_by_their_names_in_the_module(way, monkeypatch):
    if way is None:
        return
    module = sys.modules["stateguard._short"]
    monkeypatch.setattr(module, "ScopeFields", object)
    monkeypatch.setattr(module, "Drive", int)
    with pytest.raises(TypeError):
        way(scope=object)
    one = way()
    scope = one.open(http_scope())
    drive = one.serve(waits(), scope)
    drive.send(None)
    drive.close()
    one.close(scope)


# -- code that runs in the middle of it ------------------------------------------------------------


def test_a_key_that_compares_in_python_may_empty_the_scope(make_guard):
    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            dict.pop(scope, "type", None)
            return True

    async def app(scope, receive, send):
        """Is served."""

    guarded = StateGuardMiddleware(app, guard=make_guard(mode="scope-only"))
    for _ in range(50):
        scope = {"type": "".join(["ht", "tp"]), Key("headers"): [], "path": "/"}
        try:
            asyncio.run(guarded(scope, None, None))
        except KeyError:  # the uncompiled way reads the type once more
            assert not short.COMPILED
        assert current_scope() is None


@pytest.mark.filterwarnings("ignore:the .type, exc, tb. signature:DeprecationWarning")
def test_what_throw_is_given_is_an_exception(resting):
    class Strange(BaseException):
        def __new__(cls, *args):
            return 5

    async def app(scope, receive, send):
        await waits()

    try:
        raise KeyError
    except KeyError as error:
        trace = error.__traceback__
    for args in [(Strange,), (5,), (Strange, None, trace)]:
        request = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
        request.send(None)
        with pytest.raises(TypeError):
            request.cr_await.throw(*args)
        del request
        gc.collect()
    assert not resting.engine.passing.scopes


def test_one_that_has_not_begun_is_not_begun_by_what_is_thrown_in(way, resting):
    if way is None:
        return
    one = way()
    scope = one.open(http_scope())
    coroutine = waits()
    drive = one.serve(coroutine, scope)
    with pytest.raises(KeyError):
        drive.throw(KeyError)
    with pytest.raises(RuntimeError):
        drive.send(None)
    drive.close()
    coroutine.close()
    one.close(scope)
    assert not resting.engine.passing.scopes
    assert resting.stats.requests == 0


def test_one_that_runs_is_not_run_again_or_finalized(resting):
    refused = []

    async def app(scope, receive, send):
        await pause()
        for again in (lambda: drive.send(None), lambda: drive.throw(KeyError), drive.close):
            with pytest.raises(ValueError, match="already executing"):
                again()
            refused.append(True)
        if short.COMPILED:
            type(drive).__del__(drive)
        await pause()

    request = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
    request.send(None)
    drive = request.cr_await
    request.send(None)
    with pytest.raises(StopIteration):
        request.send(None)
    assert len(refused) == 3
    assert not resting.engine.passing.scopes


def test_a_finalizer_may_use_what_is_being_taken_apart(resting):
    for begun in (False, True):

        def make(begun=begun):
            async def app(scope, receive, send):
                await waits()

            class Last:
                __slots__ = ()  # finalized while the cycle that holds it is collected

                def __del__(self):
                    for one in held:
                        for use in (lambda one=one: one.send(None), lambda one=one: one.throw(KeyError)):
                            try:
                                use()
                            except BaseException as error:
                                used.append(type(error))

            request = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
            contextvars.copy_context().run(request.send, None)
            drive = request.cr_await
            if begun:
                contextvars.copy_context().run(drive.send, None)
            held = [Last(), drive, request]
            held.append(held)

        used = []
        make()
        gc.collect()
        assert used or CLASSES_STAY
    assert CLASSES_STAY or not resting.engine.passing.scopes


def test_a_session_that_is_made_while_its_request_ends_is_not_kept(make_guard):
    async def app(scope, receive, send):
        mine.append(current_scope())
        await pause()

    def factory():
        with pytest.raises(StopIteration):
            request.send(None)
        return object()

    mine = []
    guarded = StateGuardMiddleware(app, guard=make_guard(mode="scope-only", session_factory=factory))
    context = contextvars.Context()
    request = guarded(http_scope(), None, None)
    context.run(request.send, None)
    context.copy().run(session)
    assert mine[0].closed
    with pytest.raises(NoActiveScope):
        _ = mine[0].session
    assert not mine[0].values


# -- how it ends -----------------------------------------------------------------------------------


def test_one_that_is_let_go_of_is_closed_and_forgotten(resting, state):
    async def app(scope, receive, send):
        try:
            await waits()
        finally:
            state.leak()
            closed.append(scope["path"])

    closed = []
    for path in ("/a", "/b"):
        request = StateGuardMiddleware(app, guard=resting)(http_scope(path=path), None, None)
        contextvars.copy_context().run(request.send, None)
        loop = [request]
        loop.append(loop)
        del request, loop
        gc.collect()
    assert closed == ["/a", "/b"]
    assert not resting.engine.passing.scopes
    assert {one.request.path for one in resting.engine.unseen.since} == {"/a", "/b"}


def test_nothing_is_left_of_many(resting):
    async def app(scope, receive, send):
        if scope["path"] == "/waits":
            await pause()
        if scope["path"] == "/raises":
            raise KeyError

    def serve(path):
        request = guarded(http_scope(path=path), None, None)
        try:
            while True:
                request.send(None)
        except (StopIteration, KeyError):
            pass

    guarded = StateGuardMiddleware(app, guard=resting)
    before = None
    for _ in range(3):
        for path in ("/", "/waits", "/raises") * 300:
            serve(path)
        resting.engine.unseen.since.clear()
        gc.collect()
        counts = [sys.getrefcount(one) for one in (PassingScope, resting, resting.engine.passing, app)]
        objects = sum(type(one) is PassingScope and one.owner is resting for one in gc.get_objects())
        before, earlier = (counts, objects), before
    assert before == earlier
    assert objects == 0


def test_a_long_chain_of_scopes_is_let_go_of():
    for make in (short.ScopeFields, lambda: PassingScope(None, dict)):
        last = None
        for _ in range(100_000):
            one = make()
            one.parent, last = last, one
        seen = weakref.ref(last) if isinstance(last, Scope) else None
        del one, last
        assert seen is None or seen() is None


def test_a_step_asks_nobody_before_a_look_is_due(resting, monkeypatch):
    """However far off the next look is."""

    async def app(scope, receive, send):
        await pause()

    told = []
    monkeypatch.setattr(resting.engine.passing, "end", told.append, raising=True)
    for far in (10**30, perf_counter_ns() + 10**15):
        resting.engine.pace.next_look = far
        asyncio.run(StateGuardMiddleware(app, guard=resting)(http_scope(), None, None))
    assert told == []


def test_who_asks_what_a_request_waits_for_finds_where(resting):
    async def app(scope, receive, send):
        await waits()

    def frames(one):
        while one is not None and not isinstance(one, types.GeneratorType):
            yield one.cr_frame.f_code.co_name
            one = one.cr_await

    wake(resting)
    for short_way in (False, True):
        if short_way:
            rest(resting)
        request = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
        contextvars.copy_context().run(request.send, None)
        found = list(frames(request))
        assert found == (["__call__", "app", "waits"] if short_way and short.COMPILED else ["__call__"])
        request.close()


@pytest.mark.parametrize("method", ["end", "over"])
def test_what_a_signal_handler_raises_has_the_error_of_the_application_as_its_context(resting, method):
    first, second = RuntimeError("first"), ValueError("second")

    async def app(scope, receive, send):
        try:
            raise first
        except RuntimeError:
            raise second from None

    class Interrupted(BaseException):
        pass

    def interrupt(scope):
        raise Interrupted

    passing = resting.engine.passing
    setattr(passing, method, interrupt)
    resting.engine.pace.next_look = 0  # each step is followed by a look
    if method == "over":
        sample_next(resting)
        passing.end = lambda scope: None
    request = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
    with pytest.raises(Interrupted) as caught:
        contextvars.copy_context().run(request.send, None)
    assert caught.value.__context__ is second
    assert second.__context__ is first
    assert sys.exc_info() == (None, None, None)
