"""The request scope: who sees which one, and what is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import anyio.to_thread
import pytest

from stateguard import AgentSession, Guard, carry, current_scope, open_scope, session
from stateguard.errors import ConfigError, NoActiveScope
from stateguard.leak import RequestInfo

CARRIERS = ["contextvar", "thread-local"]


@dataclass
class MyState:
    names: list[str] = field(default_factory=list)


def in_thread(work):
    """The result (or the exception) of ``work()`` in a new, bare thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=10)


def in_context(work):
    return contextvars.Context().run(work)


def scope_variables() -> list[str]:
    return [var.name for var in contextvars.copy_context() if var.name.startswith("stateguard")]


@pytest.mark.parametrize("carrier", CARRIERS)
def test_session_is_made_once_and_lazily(carrier):
    made = []
    with open_scope(session_factory=lambda: made.append(1) or MyState(), carrier=carrier) as scope:
        assert not scope.has_session
        assert session(MyState) is session(MyState) is scope.session
        assert scope.has_session
    assert made == [1]


def test_default_session_is_an_agent_session_with_an_id():
    with open_scope():
        first = session()
        assert isinstance(first, AgentSession)
    with open_scope():
        assert session().session_id != first.session_id


@pytest.mark.parametrize("carrier", CARRIERS)
def test_nothing_is_left_behind(carrier):
    def serve():
        with open_scope(carrier=carrier):
            session().history.append({})
        return current_scope(), scope_variables()

    assert in_context(serve) == (None, [])
    assert in_thread(serve) == (None, [])


@pytest.mark.parametrize("carrier", CARRIERS)
def test_nested_scope_gives_the_outer_one_back(carrier):
    with open_scope(carrier=carrier) as outer:
        session().user_id = "outer"
        with open_scope(carrier=carrier) as inner:
            assert inner.parent is outer
            assert session().user_id is None
            assert current_scope() is inner
        assert current_scope() is outer
        assert session().user_id == "outer"


@pytest.mark.parametrize(("first", "second"), [CARRIERS, CARRIERS[::-1]])
def test_nested_scope_of_the_other_carrier_wins_while_it_is_open(first, second):
    with open_scope(carrier=first) as outer:
        with open_scope(carrier=second) as inner:
            assert current_scope() is inner
        assert current_scope() is outer


@pytest.mark.parametrize("carrier", CARRIERS)
def test_interleaved_entries_as_wsgi_makes_them(carrier):
    """Two bodies iterated in turn on one thread: each step sees its own scope."""

    def run():
        scopes = [open_scope(carrier=carrier) for _ in range(2)]
        for _ in range(3):
            for scope in scopes:
                token = scope.enter()
                assert current_scope() is scope
                scope.leave(token)
                assert current_scope() is None
        return scope_variables()

    assert in_context(run) == []


@pytest.mark.parametrize("carrier", CARRIERS)
def test_leaving_out_of_order(carrier):
    def run():
        one, two, three = (open_scope(carrier=carrier) for _ in range(3))
        tokens = [one.enter(), two.enter(), three.enter()]
        one.leave(tokens[0])
        assert current_scope() is three
        two.leave(tokens[1])
        assert current_scope() is three
        three.leave(tokens[2])
        assert current_scope() is None
        three.leave(tokens[2])  # a second time does nothing
        assert current_scope() is None

    in_context(run)


def test_leaving_in_another_context_is_tolerated():
    scope = open_scope()
    token = in_context(scope.enter)
    scope.leave(token)
    copied = contextvars.copy_context()
    token = copied.run(scope.enter)
    copied.copy().run(scope.leave, token)
    assert current_scope() is None


def test_a_closed_scope_found_in_an_inherited_context_counts_as_none():
    def first_request():
        scope = open_scope()
        token = scope.enter()
        inherited = contextvars.copy_context()  # what uvicorn starts a pipelined request with
        scope.leave(token)
        scope.close()
        return inherited

    inherited = in_context(first_request)

    def second_request():
        assert current_scope() is None
        with pytest.raises(NoActiveScope, match="has ended"):
            session()
        with open_scope() as scope:
            assert scope.parent is None
            assert session().history == []

    inherited.run(second_request)


def test_a_chain_of_inherited_contexts_keeps_no_old_scope():
    """A keep-alive connection of many requests: what the last one inherits must not hold all before it."""
    context = contextvars.Context()
    scopes = []

    def serve():
        scope = open_scope()
        token = scope.enter()
        session()
        scopes.append(weakref.ref(scope))
        inherited = contextvars.copy_context()
        scope.leave(token)
        scope.close()
        return inherited

    for _ in range(20):
        context = context.run(serve)
    gc.collect()
    assert sum(ref() is not None for ref in scopes) <= 1


def test_a_scope_held_by_a_leaked_task_keeps_nothing_alive():
    class Big:
        pass

    async def main():
        stop = asyncio.Event()

        async def forever():
            await stop.wait()
            with pytest.raises(NoActiveScope, match="has ended"):
                session(Big)

        with open_scope(session_factory=Big) as scope:
            big = weakref.ref(session(Big))
            scope.value("key", list)
            task = asyncio.create_task(forever())
        gc.collect()
        assert big() is None
        assert scope.values == {}
        stop.set()
        await task

    asyncio.run(main())


def test_tasks_share_the_scope_and_requests_never_do():
    async def request(number):
        with open_scope(session_factory=MyState):

            async def child(name):
                await asyncio.sleep(0)
                session(MyState).names.append(name)

            await asyncio.gather(*(child(f"{number}.{i}") for i in range(5)))
            return sorted(session(MyState).names)

    async def main():
        return await asyncio.gather(*(asyncio.create_task(request(n)) for n in range(20)))

    for number, names in enumerate(asyncio.run(main())):
        assert names == [f"{number}.{i}" for i in range(5)]


def test_worker_threads_of_asyncio_and_anyio_get_the_scope():
    async def main():
        with open_scope() as scope:
            assert await asyncio.to_thread(current_scope) is scope
            assert await anyio.to_thread.run_sync(current_scope) is scope

    asyncio.run(main())


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_bare_thread_is_told_about_carry(carrier):
    with open_scope(carrier=carrier):
        with pytest.raises(NoActiveScope, match=r"stateguard\.carry\(fn\)"):
            in_thread(session)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_carry_brings_the_scope_into_threads(carrier):
    variable = contextvars.ContextVar("variable", default=None)
    with open_scope(carrier=carrier) as scope:
        variable.set("set by the request")
        barrier = threading.Barrier(4)

        def work(_):
            barrier.wait(timeout=10)  # all at once: one wrapped function, four threads
            return current_scope(), variable.get()

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(carry(work), range(4))) == {(scope, "set by the request")}
            assert pool.submit(lambda: (current_scope(), scope_variables())).result() == (None, [])
        late = carry(session)
    with pytest.raises(NoActiveScope, match="has ended"):
        in_thread(late)


def test_carry_of_a_coroutine_function_into_another_loop():
    async def name():
        await asyncio.sleep(0)
        return session().user_id

    with open_scope():
        session().user_id = "ada"
        carried = carry(name)
        assert in_thread(lambda: asyncio.run(carried())) == "ada"
    assert name.__name__ == carried.__name__


def test_carry_outside_a_request_runs_the_function_plainly():
    assert in_thread(carry(lambda: 42)) == 42
    assert asyncio.run(carry(asyncio.sleep)(0, "done")) == "done"


def test_outside_a_request_the_error_names_the_ways_in():
    def ask():
        with pytest.raises(NoActiveScope, match=r"with guard\.request") as caught:
            session()
        return str(caught.value)

    assert "StateGuardMiddleware" in in_context(ask)

    async def main():  # a task of a server's loop that is not in the main thread: not a bare thread
        return in_context(ask)

    assert "carry" not in in_thread(lambda: asyncio.run(main()))


def test_session_of_another_kind_is_refused():
    with open_scope(session_factory=MyState):
        with pytest.raises(ConfigError, match="session_factory=AgentSession"):
            session(AgentSession)


def test_unknown_carrier_is_refused():
    with pytest.raises(ConfigError, match="carrier='cookie'"):
        open_scope(carrier="cookie")


def test_threads_that_race_for_the_session_get_one_object():
    barrier = threading.Barrier(8)

    def make():
        return object()

    with open_scope(session_factory=make):

        def ask():
            barrier.wait(timeout=10)
            return session(object)

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(carry(ask)) for _ in range(8)]
            assert len({id(future.result()) for future in asked}) == 1


def test_a_closed_scope_refuses_a_session():
    scope = open_scope()
    scope.close()
    with pytest.raises(NoActiveScope):
        _ = scope.session
    with pytest.raises(NoActiveScope):
        scope.session = MyState()
    assert "closed" in repr(scope)


def test_the_request_is_named_in_the_representation():
    scope = open_scope(RequestInfo("r-1", "http", "GET", "/chat"))
    assert "r-1" in repr(scope)


def test_a_factory_that_is_false_is_a_factory():
    class Odd(dict):
        def __call__(self):
            return "its session"

    with open_scope(session_factory=Odd()):
        assert session(str) == "its session"
    with Guard(mode="scope-only", session_factory=Odd()).request("job"):
        assert session(str) == "its session"
