"""The short way through a middleware: compiled or not, what can be seen of it is the same."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import gc
import inspect
import json
import os
import subprocess
import sys
import types
import weakref
from collections.abc import Coroutine
from time import perf_counter_ns, time

import pytest

from stateguard import Guard, short
from stateguard.asgi import StateGuardMiddleware
from stateguard.attribution.request import current
from stateguard.attribution.steps import awaited
from stateguard.attribution.unseen import RUNNING
from stateguard.errors import NoActiveScope
from stateguard.parallel import PARALLEL
from stateguard.passing import PassingScope
from stateguard.scope import Scope, by_thread, current_scope, ended, entered, session
from tests.middleware.conftest import rest, sample_next, wake
from tests.middleware.exchanges import http_scope

SEEDS = 0, 30

NEVER_AWAITED = r"coroutine 'StateGuardMiddleware\.__call__' was never awaited"

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
        "by_thread": by_thread,
        "clock": perf_counter_ns,
        "clocks": {"time": time},
        "current": current,
        "ended": ended,
        "engine": engine,
        "entered": entered,
        "finder": engine.finder,
        "guard": guard,
        "identify": print,
        "mode": guard.mode,
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
    noted = {"account", "began", "origin", "stepped", "suspect"}  # of what is let pass
    for name in sorted(set(dir(scope)) - noted):
        if not name.startswith("__"):
            say(name, lambda: str(getattr(scope, name)).partition(" at ")[0])
    say("set", lambda: setattr(scope, "other", 1))
    say("token", lambda: setattr(scope, "var_token", 1) or scope.var_token)
    say("delete", lambda: delattr(scope, "var_token"))
    say("delete", lambda: delattr(scope, "var_token"))
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


def test_a_way_is_for_one_whose_numbers_lie_where_it_reads_them(way, resting):
    if way is None:
        return
    assert way(), "with what belongs there"
    for name in ("by_thread", "finder", "guard", "pace", "passing", "tally", "unseen", "engine"):
        with pytest.raises((TypeError, AttributeError)):
            way(**{name: types.SimpleNamespace(used=False, requests=0)})


def test_a_middleware_takes_no_other_way(resting):
    async def app(scope, receive, send):
        """Is served."""

    guarded = StateGuardMiddleware(app, guard=resting)
    if not short.COMPILED:
        return
    for wrong in (5, guarded, short.ScopeFields()):
        with pytest.raises(TypeError):
            guarded._way = wrong
    for wrong in (5, object, Scope, short.Door):
        with pytest.raises(TypeError):
            short.through(wrong)


def test_types_are_not_told_by_their_names_in_the_module(way, monkeypatch, resting):
    if way is None:
        return
    module = sys.modules["stateguard._short"]
    monkeypatch.setattr(module, "ScopeFields", object)
    monkeypatch.setattr(module, "Drive", int)
    with pytest.raises(TypeError):
        way(scope=object)

    async def app(scope, receive, send):
        await waits()

    drive = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
    contextvars.copy_context().run(drive.send, None)
    assert len(resting.engine.passing.scopes) == 1
    drive.close()
    assert not resting.engine.passing.scopes


# -- what stands where a coroutine stood -------------------------------------------------------------


def test_a_middleware_looks_like_the_coroutine_function_that_it_was(resting):
    async def app(scope, receive, send):
        await waits()

    guarded = StateGuardMiddleware(app, guard=resting)
    for what in (guarded.__call__, StateGuardMiddleware.__call__, type(guarded).__call__):
        assert inspect.iscoroutinefunction(what)
    assert list(inspect.signature(guarded).parameters) == ["scope", "receive", "send"]
    request = guarded(http_scope(), None, None)
    assert inspect.iscoroutine(request)
    assert inspect.isawaitable(request)
    assert asyncio.iscoroutine(request)
    assert isinstance(request, Coroutine)
    assert request.__name__ == "__call__"
    assert request.__qualname__ == "StateGuardMiddleware.__call__"
    request.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        request.send(None)


def test_one_that_is_asked_before_it_has_begun_is_a_coroutine(resting):
    async def app(scope, receive, send):
        served.append(current_scope())
        return 5

    async def waits_for(request):
        return await request

    @types.coroutine
    def yields_from(request):
        return (yield from request)

    served = []
    guarded = StateGuardMiddleware(app, guard=resting)
    for use in (waits_for, yields_from, lambda request: request):
        for ask in (inspect.getcoroutinestate, lambda one: one.cr_code, id):
            request = guarded(http_scope(), None, None)
            ask(request)
            with pytest.raises(StopIteration) as ended:
                contextvars.copy_context().run(use(request).send, None)
            assert ended.value.value == 5
    assert len(served) == resting.stats.requests == 9
    served.clear()
    request = guarded(http_scope(), None, None)
    assert request.cr_code is StateGuardMiddleware.__call__.__code__
    assert request.cr_frame.f_locals["self"] is guarded
    assert request.cr_await is None
    assert not request.cr_running
    with pytest.raises(StopIteration) as ended:
        contextvars.copy_context().run(request.send, None)
    assert ended.value.value == 5
    assert len(served) == 1
    assert resting.stats.requests == 10
    for drop in (lambda one: one.close(), lambda one: pytest.raises(KeyError, one.throw, KeyError)):
        request = guarded(http_scope(), None, None)
        assert request.cr_frame is not None
        drop(request)
        del request
        gc.collect()
    assert len(served) == 1


def test_one_that_nobody_awaits_says_so(resting):
    async def app(scope, receive, send):
        """Is not served."""

    guarded = StateGuardMiddleware(app, guard=resting)
    for ask in (lambda one: None, lambda one: one.cr_frame):
        requests = [guarded(http_scope(), None, None)]
        ask(requests[0])
        with pytest.warns(RuntimeWarning, match=NEVER_AWAITED):
            requests.clear()
    assert resting.stats.requests == 0


@pytest.mark.parametrize("mode", ["scope-only", "on"])
def test_one_that_is_over_says_so(make_guard, resting, mode):
    async def app(scope, receive, send):
        await pause()
        return 5

    guard = resting if mode == "on" else make_guard(mode=mode)
    request = StateGuardMiddleware(app, guard=guard)(http_scope(), None, None)
    seen = weakref.ref(request)
    assert repr(request).startswith("<coroutine object StateGuardMiddleware.__call__ at ")
    with pytest.raises(TypeError, match="non-None value to a just-started"):
        request.send(5)
    context = contextvars.copy_context()
    context.run(request.send, None)
    if short.COMPILED:  # the interpreter asks a coroutine itself
        with pytest.raises(RuntimeError, match="being awaited already"):
            request.__await__()
    with pytest.raises(StopIteration):
        context.run(request.send, None)
    assert request.cr_code is StateGuardMiddleware.__call__.__code__
    assert (request.cr_running, request.cr_suspended) == (False, False)
    assert request.cr_frame is request.cr_await is request.cr_origin is None
    for again, value in ((request.send, None), (request.throw, KeyError)):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            again(value)
    again = None
    request.close()
    del request
    gc.collect()
    assert seen() is None or PARALLEL


@pytest.mark.parametrize("mode", ["scope-only", "on"])
def test_what_is_called_for_a_coroutine_stops_nothing(make_guard, resting, mode):
    def app(scope, receive, send):
        raise StopIteration("mine")

    guard = resting if mode == "on" else make_guard(mode=mode)
    guarded = StateGuardMiddleware(app, guard=guard)

    async def serve():
        return await guarded(http_scope(), None, None)

    for run in (serve, lambda: guarded(http_scope(), None, None)):
        with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
            asyncio.run(asyncio.wait_for(run(), 5))
        assert str(caught.value.__cause__) == "mine"
        assert current_scope() is None


@pytest.mark.parametrize("mode", ["scope-only", "on"])
def test_errors_of_others_are_not_handled_here(make_guard, resting, mode):
    """A coroutine that is begun while its starter handles an error sees nothing of that later."""

    async def app(scope, receive, send):
        raise KeyError

    async def starter():
        with pytest.raises(KeyError):
            await guarded(http_scope(), None, None)
        await pause()
        seen.append(sys.exc_info())

    seen = []
    guard = resting if mode == "on" else make_guard(mode=mode)
    guarded = StateGuardMiddleware(app, guard=guard)
    one, context = starter(), contextvars.copy_context()
    try:
        raise OSError  # noqa: TRY301
    except OSError:
        context.run(one.send, None)
    with pytest.raises(StopIteration):
        context.run(one.send, None)
    assert seen == [(None, None, None)]


@pytest.mark.parametrize("mode", ["scope-only", "on"])
def test_an_application_that_is_closed_may_do_what_it_likes(make_guard, resting, mode):
    def serve(app, act):
        scopes = []

        async def noting(scope, receive, send):
            scopes.append(current_scope())
            return await app()

        request = StateGuardMiddleware(noting, guard=guard)(http_scope(), None, None)
        context = contextvars.copy_context()
        context.run(request.send, None)
        try:
            found = context.run(act, request)
        except BaseException as error:
            found = type(error)
        assert scopes[0].closed
        assert context.run(current_scope) is None
        return found

    async def returns():
        with contextlib.suppress(GeneratorExit):
            await pause()

    async def goes_on():
        with contextlib.suppress(GeneratorExit):
            await pause()
        await pause()

    guard = resting if mode == "on" else make_guard(mode=mode)
    leave = GeneratorExit()
    assert serve(returns, lambda request: request.close()) is None
    assert serve(returns, lambda request: request.throw(leave)) is GeneratorExit
    assert serve(goes_on, lambda request: request.close()) is RuntimeError
    assert serve(goes_on, lambda request: request.throw(leave)) is RuntimeError


@pytest.mark.parametrize("mode", ["scope-only", "on"])
def test_a_request_begins_when_the_clock_says_so(make_guard, resting, monkeypatch, mode):
    async def app(scope, receive, send):
        scopes.append(current_scope())

    scopes = []
    guarded = StateGuardMiddleware(app, guard=resting if mode == "on" else make_guard(mode=mode))
    before = time()
    asyncio.run(guarded(http_scope(), None, None))
    for module in ("asgi", "way"):
        monkeypatch.setattr(f"stateguard.{module}.time", lambda: next(ticks))
    ticks = iter([1000.5, 2000])
    asyncio.run(guarded(http_scope(), None, None))
    assert next(ticks) == 2000  # asked when it began, not when somebody wants to know
    assert before - 1 < scopes[0].request.started < time() + 1
    assert scopes[1].request.started == 1000.5


def test_arguments_may_have_names(resting):
    async def app(scope, receive, send):
        served.append((scope["path"], receive, send))

    served = []
    guarded = StateGuardMiddleware(app, guard=resting)
    scope = http_scope(path="/here")
    for args, named in [
        ((scope, 1, 2), {}),
        ((scope, 1), {"send": 2}),
        ((), {"send": 2, "scope": scope, "receive": 1}),
    ]:
        asyncio.run(guarded(*args, **named))
    assert served == [("/here", 1, 2)] * 3
    for args, named in [
        ((scope, 1), {"scope": scope}),
        ((scope, 1), {"sent": 2}),
        ((scope, 1), {}),
        ((), {}),
        ((scope, 1, 2, 3), {}),
        ((scope, 1, 2), {"send": 2}),
        ((scope, 1, 2, 3, 4, 5), {"send": 2}),
    ]:
        with pytest.raises(TypeError, match="__call__"):
            guarded(*args, **named)


def test_who_puts_another_call_in_its_place_is_obeyed(resting, monkeypatch):
    async def app(scope, receive, send):
        return "app"

    class Mine(StateGuardMiddleware):
        async def __call__(self, scope, receive, send):
            return "mine", await super().__call__(scope, receive, send)

    class Same(StateGuardMiddleware):
        """One with other options."""

    def serve(kind):
        return asyncio.run(kind(app, guard=resting)(http_scope(), None, None))

    assert serve(Mine) == ("mine", "app")
    assert serve(Same) == "app"

    async def another(self, scope, receive, send):
        return "another"

    with monkeypatch.context() as patched:
        patched.setattr(StateGuardMiddleware, "__call__", another)

        class Later(StateGuardMiddleware):
            """Made meanwhile."""

        assert serve(StateGuardMiddleware) == serve(Same) == serve(Later) == "another"
        assert serve(Mine) == ("mine", "another")
    try:
        assert serve(StateGuardMiddleware) == serve(Same) == "app"
        assert resting.stats.requests == 4
    finally:
        if short.through is not None:
            short.through(StateGuardMiddleware)


def test_copies_and_subclasses_are_served(resting):
    async def app(scope, receive, send):
        return current_scope().request.path

    class Slotted(StateGuardMiddleware):
        __slots__ = ("less", "more")

    class Own(StateGuardMiddleware):
        def __getstate__(self):
            return dict(self.__dict__)

        def __setstate__(self, state):
            self.__dict__.update(state)

    slotted = Slotted(app, guard=resting)
    slotted.more = 5
    assert copy.copy(slotted).more == 5
    for guarded in (
        copy.copy(StateGuardMiddleware(app, guard=resting)),
        slotted,
        copy.copy(slotted),
        copy.copy(Own(app, guard=resting)),
    ):
        assert guarded.guard is resting
        assert asyncio.run(guarded(http_scope(path="/here"), None, None)) == "/here"
    with pytest.raises(AttributeError):
        StateGuardMiddleware.__new__(StateGuardMiddleware).app  # noqa: B018
    with pytest.raises(AttributeError):
        asyncio.run(StateGuardMiddleware.__new__(StateGuardMiddleware)(http_scope(), None, None))


@pytest.mark.parametrize("mode", ["scope-only", "on"])
def test_a_mode_that_changes_later_is_obeyed(make_guard, mode):
    async def app(scope, receive, send):
        return current_scope() is not None

    class Hesitating(Guard):
        """Says it in a way of its own."""

        mode = property(lambda self: self.now, lambda self, mode: vars(self).update(now=mode))

    for guard in (make_guard(mode=mode), Hesitating(mode=mode)):
        guarded = StateGuardMiddleware(app, guard=guard)
        served = []
        for guard.mode in (mode, "off", "".join(mode), mode):
            served.append(asyncio.run(guarded(http_scope(), None, None)))
        assert served == [True, False, True, True]
        guard.close()


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
            driver(request).throw(*args)
        del request
        gc.collect()
    assert not resting.engine.passing.scopes


def test_one_that_has_not_begun_is_not_begun_by_what_is_thrown_in(resting):
    async def app(scope, receive, send):
        """Is not served."""

    request = StateGuardMiddleware(app, guard=resting)(http_scope(), None, None)
    with pytest.raises(KeyError):
        request.throw(KeyError)
    with pytest.raises(RuntimeError):
        request.send(None)
    request.close()
    assert not resting.engine.passing.scopes
    assert resting.stats.requests == 0


def driver(request):
    """What drives a request that is let pass."""
    return request if short.COMPILED else request.cr_await


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
    drive = driver(request)
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
            drive = driver(request)
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
    for far in (RUNNING, perf_counter_ns() + 10**15):
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
        assert found == (["app", "waits"] if short_way and short.COMPILED else ["__call__"])
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
