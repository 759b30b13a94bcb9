"""The short way through the WSGI middleware: compiled or not, what can be seen of it is the same."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import io
import sys
import threading
import weakref

import pytest

from stateguard import current_scope, open_scope, session, short, way, wsgi
from stateguard.attribution.request import current
from stateguard.passing import PassingScope
from stateguard.scope import entered
from stateguard.wsgi import StateGuardMiddleware
from tests.middleware.conftest import rest, sample_next

pytestmark = pytest.mark.usefixtures("no_scopes_by_thread")


@pytest.fixture(params=["passing", "scope-only"])
def guard(request, make_guard):
    """Both kinds of guard that take the short way."""
    return (
        make_guard(mode="scope-only")
        if request.param == "scope-only"
        else rest(make_guard(locate="never", process=False))
    )


def environ(**more):
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": io.BytesIO(), **more}


def start_response(*args):
    return None


def answer(body):
    return lambda given, start: body


class Body:
    """Pieces, and a close."""

    def __init__(self, pieces=(b"a", b"b")):
        self.pieces = iter(pieces)

    def __iter__(self):
        return self.pieces

    def close(self):
        return "closed"


def test_the_compiled_body_is_what_servers_are_given(guard):
    body = StateGuardMiddleware(lambda *_: Body(), guard=guard)(environ(), start_response)
    assert type(body).__module__ == ("stateguard._short" if short.COMPILED else "stateguard.wsgi_bodies")
    assert iter(body) is body
    assert list(body) == [b"a", b"b"]
    assert list(body) == []  # asked again
    assert body.close() is None
    assert body.close() is None
    assert weakref.ref(body)() is body
    with pytest.raises(TypeError):
        len(body)
    with pytest.raises(AttributeError):
        body.other = 1


def test_a_body_is_made_by_nobody_else(guard):
    if not short.COMPILED:
        return
    body = StateGuardMiddleware(lambda *_: Body(), guard=guard)(environ(), start_response)
    with pytest.raises(TypeError):
        type(body)()
    with pytest.raises(TypeError):
        object.__new__(type(body))


def test_a_call_takes_what_an_application_is_called_with(guard):
    way = StateGuardMiddleware(lambda *_: [], guard=guard)._way
    if way is None:
        return
    for wrong in ((), (None,), (None, {}), (None, {}, None, None)):
        with pytest.raises(TypeError):
            way.call(*wrong)
    assert way.call(None, None, None) is NotImplemented
    with pytest.raises(TypeError):
        way.call(None, environ(), None)
    assert entered.get() is None
    assert current.get() is None


def test_an_environ_of_a_class_of_its_own_is_served_as_well(guard):
    class Environ(dict):
        def __eq__(self, other):
            raise AssertionError

        __hash__ = None

    seen = []

    def app(given, start):
        seen.append((given, current_scope().request.path))
        return [b"a"]

    mine = Environ(environ())
    assert StateGuardMiddleware(app, guard=guard)(mine, start_response) == [b"a"]
    assert seen[0][0] is mine
    assert seen[0][1] == "/"


def compared_in_python(compared):
    """An environ with a key of a class of its own, for which each look at the path asks ``compared``."""

    class Key(str):
        __slots__ = ()

        def __hash__(self):
            return hash("PATH_INFO")

        def __eq__(self, other):
            if armed:
                compared()
            return False

    armed = []
    given = {Key("x"): "y", "wsgi.input": io.BytesIO()}
    armed.append(True)
    return given


def test_keys_that_compare_in_python_may_change_the_environ(guard):
    given = compared_in_python(lambda: given.clear())
    assert StateGuardMiddleware(lambda *_: [b"a"], guard=guard)(given, start_response) == [b"a"]
    assert not given
    assert entered.get() is None


def test_nothing_is_left_of_many(guard):
    def app(given, start):
        path = given["PATH_INFO"]
        if path == "/raises":
            raise KeyError
        return [] if path == "/list" else Body() if path == "/closes" else iter([b"a"])

    def serve(path):
        try:
            body = guarded(environ(PATH_INFO=path), start_response)
            if path != "/dropped":
                list(body)
            if path == "/closes":
                body.close()
        except KeyError:
            pass

    guarded = StateGuardMiddleware(app, guard=guard)
    before = None
    for _ in range(3):
        for path in ("/", "/list", "/closes", "/raises", "/dropped") * 300:
            serve(path)
        if guard.engine is not None:
            assert not guard.engine.passing.scopes
            guard.engine.unseen.since.clear()
        gc.collect()
        counts = [sys.getrefcount(one) for one in (PassingScope, guard, app, None.__class__)]
        objects = sum(type(one) is PassingScope and one.owner is guard for one in gc.get_objects())
        before, earlier = (counts, objects), before
    assert before == earlier
    assert objects == 0
    assert entered.get() is None


@pytest.mark.parametrize("begun", [False, True])
def test_one_that_is_let_go_of_is_forgotten(resting, state, begun):
    def app(given, start):
        state.leak()
        return Body()

    body = StateGuardMiddleware(app, guard=resting)(environ(PATH_INFO="/gone"), start_response)
    if begun:
        next(body)
    scope = next(iter(resting.engine.passing.scopes))
    seen = weakref.ref(body)
    cycle = [body]
    cycle.append(cycle)
    del body, cycle
    gc.collect()
    assert seen() is None
    assert scope.closed
    assert len(scope.origin) == 4  # without the environ
    assert not resting.engine.passing.scopes
    assert [one.request.path for one in resting.engine.unseen.since] == ["/gone"]


def test_a_body_that_is_used_while_its_cycle_is_taken_apart_does_no_harm(resting):
    used = []

    class Last:
        __slots__ = ("held",)

        def __del__(self):
            for use in (next, len, bytes, lambda one: one.close(), lambda one: one.other):
                try:
                    used.append(use(self.held))
                except BaseException as error:
                    used.append(type(error))

    for _ in range(3):
        last = Last()
        made = Body()
        made.last = last
        last.held = StateGuardMiddleware(answer(made), guard=resting)(environ(), start_response)
        del last, made
        gc.collect()
    assert len(used) == 15
    assert not resting.engine.passing.scopes


def test_a_body_that_fails_when_it_is_asked_what_it_is_ends_its_request(resting):
    class Broken:
        def __iter__(self):
            return iter([])

        @property
        def close(self):
            raise RuntimeError("not to be asked")

    with pytest.raises(RuntimeError, match="not to be asked"):
        StateGuardMiddleware(lambda *_: Broken(), guard=resting)(environ(), start_response)
    assert not resting.engine.passing.scopes
    assert entered.get() is None


@pytest.mark.parametrize("when", ["call", "next", "close"])
@pytest.mark.parametrize("method", ["end", "over"])
def test_what_a_signal_handler_raises_has_the_error_of_the_application_as_its_context(resting, method, when):
    first, second = RuntimeError("first"), ValueError("second")

    def fail():
        try:
            raise first
        except RuntimeError:
            raise second from None

    class Failing(Body):
        def __iter__(self):
            return self

        def __next__(self):
            arm()
            fail()

        def close(self):
            arm()
            fail()

    class Plain(Failing):
        close = property()

    class Interrupted(BaseException):
        pass

    def interrupt(scope):
        raise Interrupted

    def arm():
        setattr(passing, method, interrupt)
        resting.engine.pace.next_look = 0  # each step is followed by a look

    def app(given, start):
        if when == "call":
            arm()
            fail()
        return Failing() if when == "close" else Plain()

    passing = resting.engine.passing
    if method == "over":
        sample_next(resting)
        passing.end = lambda scope: None

    def serve():
        body = StateGuardMiddleware(app, guard=resting)(environ(), start_response)
        (body.close if when == "close" else body.__next__)()

    with pytest.raises(Interrupted) as caught:
        serve()
    assert caught.value.__context__ is second
    assert second.__context__ is first
    assert sys.exc_info() == (None, None, None)
    assert entered.get() is None


def test_fields_that_somebody_deletes_are_missed_and_nothing_else(resting):
    def app(given, start):
        scope = current_scope()
        for name in ("stepped", "account", "suspect", "began", "origin"):
            with contextlib.suppress(TypeError):  # numbers are kept as such where it is compiled
                delattr(scope, name)
        yield b"a"

    def serve():
        body = StateGuardMiddleware(app, guard=resting)(environ(), start_response)
        for _ in range(3):
            try:
                next(body)
            except (StopIteration, AttributeError):
                done.append(True)

    done = []
    contextvars.copy_context().run(serve)
    assert done


# -- what no well-behaved application does ---------------------------------------------------------


def test_a_body_that_is_asked_for_without_end_is_too_deep(guard):
    class Itself:
        body = None

        def __iter__(self):
            return self.body

        def __len__(self):
            return len(self.body)

        def __getattr__(self, name):
            return getattr(self.body, name)

    mine = Itself()
    mine.body = iter([])
    mine.body = body = StateGuardMiddleware(answer(mine), guard=guard)(environ(), start_response)
    for ask in (next, len, lambda one: one.other):
        with pytest.raises(RecursionError):
            ask(body)
    mine.body = None
    assert entered.get() is None


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_piece_may_ask_for_a_piece_of_the_same_body(guard, depth):
    class Nested:
        def __init__(self):
            self.left = depth

        def __iter__(self):
            return self

        def __next__(self):
            self.left -= 1
            paths.append(current_scope().request.path)
            if self.left:
                next(body)
            paths.append(current_scope().request.path)
            return b"a"

    paths = []
    body = StateGuardMiddleware(answer(Nested()), guard=guard)(environ(), start_response)
    assert next(body) == b"a"
    assert paths == ["/"] * (2 * depth)
    assert entered.get() is None
    assert current.get() is None


def test_a_piece_may_be_asked_for_in_another_context_while_one_is_under_way(guard):
    class Elsewhere(Body):
        def __next__(self):
            if len(seen) < 2:
                seen.append(current_scope().request.path)
                contextvars.Context().run(next, body)
                seen.append(current_scope().request.path)
            return b"a"

        def __iter__(self):
            return self

    seen = []
    body = StateGuardMiddleware(answer(Elsewhere()), guard=guard)(environ(), start_response)
    next(body)
    body.close()
    assert set(seen) == {"/"}
    assert entered.get() is None
    assert current.get() is None


def test_two_threads_may_be_inside_one_body(guard):
    class Slow(Body):
        def __next__(self):
            meet.wait(10)
            meet.wait(10)
            return b"a"

        def __iter__(self):
            return self

    def piece(n):
        next(body)
        left[n] = entered.get(), current.get()

    meet = threading.Barrier(2)
    left = {}
    body = StateGuardMiddleware(answer(Slow()), guard=guard)(environ(), start_response)
    threads = [threading.Thread(target=piece, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert left == {0: (None, None), 1: (None, None)}
    body.close()


def test_a_piece_whose_request_another_thread_ends_leaves_nothing_on_its_own(resting):
    class Ended(Body):
        def __iter__(self):
            return self

        def __next__(self):
            if pieces.pop():
                resting.engine.pace.gait = "brief"  # it is taken up with the next piece
                return b"a"
            thread = threading.Thread(target=body.close)
            thread.start()
            thread.join(20)
            return b"b"

    pieces = [False, False, True]
    body = StateGuardMiddleware(answer(Ended()), guard=resting)(environ(), start_response)
    for _ in range(3):
        next(body)
    assert entered.get() is None
    assert current.get() is None
    assert not resting.engine.active
    assert not resting.engine.ledger.stacks


def test_what_is_written_when_the_request_is_over_is_noted_too(resting, state):
    class Late(Body):
        def close(self):
            state.leak("late")

    body = StateGuardMiddleware(answer(Late()), guard=resting)(environ(PATH_INFO="/late"), start_response)
    unseen = resting.engine.unseen
    for again in (body.close, body.close, lambda: next(body), lambda: next(body, None)):
        again()
        assert [one.request.path for one in unseen.suspects()] == ["/late"]
        unseen.looking(0)
        unseen.looked()
        assert not unseen.suspects()


def test_who_began_before_another_piece_was_looked_at_is_no_suspect_for_ever(resting):
    class Nested(Body):
        def __iter__(self):
            return self

        def __next__(self):
            done.append(True)
            if len(done) == 2:  # the inner one, which began unseen as well
                resting.engine.pace.gait = "brief"
                next(body)
            elif len(done) == 1:
                next(body)
            return b"a"

    done = []
    body = StateGuardMiddleware(answer(Nested()), guard=resting)(environ(), start_response)
    next(body)
    body.close()
    for _ in range(3):
        resting.engine.unseen.looking(0)
        resting.engine.unseen.looked()
    assert not resting.engine.unseen.suspects()
    assert not resting.engine.active
    assert not resting.engine.passing.scopes


def test_an_application_that_returns_nothing_is_called_once(guard):
    calls = []
    app = StateGuardMiddleware(lambda *_: calls.append(1), guard=guard)
    assert app(environ(**{"wsgi.file_wrapper": object}), start_response) is None
    assert calls == [1]


def test_an_environ_that_fails_is_asked_once(guard):
    def fail():
        asked.append(True)
        raise ValueError("not to be compared")

    asked = []
    guarded = StateGuardMiddleware(lambda *_: [], guard=guard)
    with pytest.raises(ValueError, match="not to be compared"):
        guarded(compared_in_python(fail), start_response)
    assert asked == [True]
    assert entered.get() is None


def test_settings_that_are_replaced_count_from_the_next_request(guard, monkeypatch):
    class Mine:
        pass

    told = []

    def app(given, start):
        told.append((type(session()), current_scope().request.started))
        return []

    guarded = StateGuardMiddleware(app, guard=guard)
    guard.session_factory = Mine
    for module in (way, wsgi):  # as tests that stop the clock do
        monkeypatch.setattr(module, "time", lambda: 5.0)
    guarded(environ(), start_response)
    assert told == [(Mine, 5.0)]


@pytest.mark.parametrize("method", ["over", "forget", "give_back", "begin"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_signal_handler_that_raises_leaves_nothing_behind(resting, method, inside):
    class Interrupted(BaseException):
        pass

    def interrupt(*args):
        raise Interrupted

    def serve():
        body = StateGuardMiddleware(answer(Body()), guard=resting)(environ(), start_response)
        if method in ("give_back", "begin"):
            resting.engine.pace.gait = "brief"  # it is taken up
        else:
            resting.engine.passing.request(next(iter(resting.engine.passing.scopes)))  # it is suspected
        setattr(resting.engine.passing, method, interrupt)
        raised = []
        for use in (lambda: next(body), body.close):
            try:
                use()
            except Interrupted:
                raised.append(True)
        assert raised
        assert entered.get() is (around if inside else None)
        assert not resting.engine.passing.scopes

    around = open_scope() if inside else None
    with around or contextlib.nullcontext():
        contextvars.copy_context().run(serve)
