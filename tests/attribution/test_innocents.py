"""Attempts to have an innocent request accused: whatever cannot be proven must be a suspicion at most."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from tests.attribution.driver import exact, guarding
from tests.attribution.loops import LOOPS

MODULE = "tests.attribution.innocent_state"

SOURCE = """
import weakref

LOG = []
TABLE = {}
KEPT = []
STOPPING = False

def write(text="written"):
    LOG.append(text)

async def write_later():
    LOG.append("written")

async def write_soon(sleep):
    await sleep(0.02)
    LOG.append("written")

class Finalized:
    def __del__(self):
        LOG.append("finalized")

def generator():
    try:
        yield 1
    finally:
        LOG.append("generator closed")

async def async_generator():
    try:
        yield 1
    finally:
        LOG.append("asynchronous generator closed")

def write_and_wait(event):
    LOG.append("written")
    event.wait(10)

def handler(function, *args):
    function(*args)

def stop(number, frame):
    _stop()

def _stop():
    global STOPPING
    STOPPING = True
    LOG.append("stopping")
"""


@pytest.fixture
def state() -> Iterator[Any]:
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(compile(SOURCE, "innocent_state.py", "exec"), module.__dict__)
    yield module
    del sys.modules[MODULE]


@contextmanager
def watching() -> Iterator[Any]:
    with guarding(watch=[MODULE]) as guard:
        guard.start()
        yield guard
        assert guard.engine.failures == {}


@contextmanager
def running(function: Callable[..., Any], *args: Any) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def accused(guard: Any, name: str = "LOG") -> list[tuple[str, str]]:
    """Who is accused of writing to ``name``, and how."""
    found = []
    for leak in guard.leaks:
        if leak.root == f"{MODULE}.{name}":
            requests = [leak.request] if leak.request else leak.suspects
            found.append((leak.confidence, "+".join(request.path for request in requests)))
    return found


def scope(path: str) -> dict[str, Any]:
    return {"type": "http", "path": path, "headers": [(b"host", path.encode())], "method": "GET"}


# -- collected while another request runs ----------------------------------------------------------


@pytest.fixture(autouse=True)
def collected_by_hand() -> Iterator[None]:
    """A collection that happens to come in the middle of a request makes a suspicion of what is exact."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def cycle(thing: Any) -> None:
    knot = [thing]
    knot.append(knot)


def weak(state: Any) -> None:
    thing = state.Finalized.__new__(type("Plain", (), {}))
    state.KEPT.append(state.weakref.ref(thing, lambda ref: state.write("weak reference died")))
    cycle(thing)


def started(state: Any) -> None:
    generator = state.generator()
    next(generator)
    cycle(generator)


LEFT_BEHIND = {"object": lambda state: cycle(state.Finalized()), "generator": started, "weak reference": weak}


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_finalizers_of_what_another_request_left_behind(what, state):
    with watching() as guard:
        with guard.request("owner"):
            LEFT_BEHIND[what](state)
        for _ in range(2):  # the second time, lines are followed
            with guard.request("innocent"):
                gc.collect()
            with guard.request("owner"):
                LEFT_BEHIND[what](state)
        assert accused(guard) == [("suspected", "innocent")] * 2


def test_a_request_that_drops_the_last_reference_is_accountable(state):
    with watching() as guard:
        with guard.request("keeps"):
            state.KEPT.append(state.Finalized())
        with guard.request("drops"):
            state.KEPT.clear()
        with guard.request("innocent"):
            pass
        assert accused(guard) == [("exact", "drops")]


def test_what_code_outside_dropped_is_not_finalized_in_the_next_request(state):
    with watching() as guard:
        with guard.request("keeps"):
            state.KEPT.append(state.Finalized())
        state.KEPT.clear()
        with guard.request("innocent"):
            pass
        with guard.request("another"):
            pass
        assert accused(guard) == []


def test_an_abandoned_asynchronous_generator(state):
    async def app(scope, receive, send):
        if scope["path"] == "owner":
            generator = state.async_generator()
            await anext(generator)
            cycle(generator)
        else:
            gc.collect()
            await asyncio.sleep(0.01)

    async def main(guarded):
        for path in ("owner", "innocent", "later"):
            await guarded(scope(path), None, None)

    with watching() as guard:
        asyncio.run(main(guard.asgi(app)))
        assert accused(guard) == [("suspected", "innocent")]


# -- code of no request, meanwhile -----------------------------------------------------------------


def test_a_scheduler_that_is_no_watched_code(state):
    go, done = threading.Event(), threading.Event()

    def library():
        while go.wait(10):
            go.clear()
            if done.is_set():
                return
            state.write()
            done.set()

    with watching() as guard, running(library):
        with guard.request("innocent"):
            go.set()
            assert done.wait(10)
        go.set()
        assert exact(guard.leaks) == []


def test_a_queue_that_a_request_filled(state):
    jobs: queue.Queue[Any] = queue.Queue()
    done = threading.Event()

    def library():
        while (job := jobs.get(timeout=10)) is not None:
            job()
            done.set()

    with watching() as guard, running(library):
        with guard.request("owner"):
            jobs.put(lambda: (time.sleep(0.03), state.write()))
        with guard.request("innocent"):
            assert done.wait(10)
        jobs.put(None)
        assert exact(guard.leaks) == []


def test_a_thread_that_begins_and_ends_between_two_looks(state):
    go, done = threading.Event(), threading.Event()

    def outer():
        assert go.wait(10)
        with running(state.write):
            pass
        done.set()

    with watching() as guard, running(outer):
        with guard.request("innocent"):
            go.set()
            assert done.wait(10)
        assert exact(guard.leaks) == []


def test_a_thread_in_no_loop(state):
    event = threading.Event()
    with watching() as guard:
        thread = threading.Thread(target=state.write_and_wait, args=(event,))
        with guard.request("innocent"):
            thread.start()
            time.sleep(0.05)
        event.set()
        thread.join(10)
        assert exact(guard.leaks) == []


def test_a_job_of_a_pool(state):
    go = threading.Event()
    with watching() as guard, ThreadPoolExecutor(1) as pool:
        job = pool.submit(lambda: (go.wait(10), state.write()))
        with guard.request("innocent"):
            go.set()
            job.result(10)
        assert exact(guard.leaks) == []


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("how", ["timer", "task", "task from before", "done callback"])
def test_the_event_loop_while_a_request_runs_on_a_thread(state, how, new_loop):
    async def app(scope, receive, send):
        await asyncio.to_thread(state.handler, time.sleep, 0.05)

    async def write_soon():
        await asyncio.sleep(0.02)
        await state.write_later()

    async def main(guarded):
        loop = asyncio.get_running_loop()
        before = asyncio.create_task(state.write_soon(asyncio.sleep)) if how == "task from before" else None
        await guarded(scope("warms up"), None, None)
        if how == "timer":
            loop.call_later(0.02, state.write)
        elif how == "task":
            before = asyncio.create_task(write_soon())
        elif how == "done callback":
            before = asyncio.create_task(asyncio.sleep(0.02))
            before.add_done_callback(state.LOG.append)
        await guarded(scope("innocent"), None, None)
        if before is not None:
            await before

    with watching() as guard, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(guard.asgi(app)))
        assert [who for how, who in accused(guard) if how == "exact"] == []


def test_trio_while_a_request_runs_on_a_thread(state):
    async def app(scope, receive, send):
        await trio.to_thread.run_sync(state.handler, time.sleep, 0.05)

    async def write_soon():
        await trio.sleep(0.02)
        await state.write_later()

    async def main(guarded):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(write_soon)
            await guarded(scope("innocent"), None, None)

    with watching() as guard:
        trio.run(main, guard.asgi(app))
        assert exact(guard.leaks) == []


def test_another_event_loop_on_another_thread(state):
    go, done = threading.Event(), threading.Event()

    async def background():
        while not go.is_set():
            await asyncio.sleep(0.002)
        await state.write_later()
        done.set()

    async def app(scope, receive, send):
        go.set()
        assert done.wait(10)

    with watching() as guard, running(lambda: asyncio.run(background())):
        asyncio.run(guard.asgi(app)(scope("innocent"), None, None))
        assert exact(guard.leaks) == []


def test_two_event_loops_that_serve_requests(state):
    together = threading.Barrier(2)

    async def app(scope, receive, send):
        together.wait(10)
        if scope["path"] == "guilty":
            state.write()
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass

    with watching() as guard:
        guarded = guard.asgi(app)
        with running(lambda: asyncio.run(guarded(scope("guilty"), None, None))):
            asyncio.run(guarded(scope("innocent"), None, None))
        assert [who for how, who in accused(guard) if how == "exact" and who != "guilty"] == []
        assert any("guilty" in who for _, who in accused(guard))


def test_a_signal_handler(state):
    before = signal.signal(signal.SIGUSR1, state.stop)
    try:
        with watching() as guard:
            with guard.request("innocent"):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.01)
            with guard.request("guilty"):
                state.TABLE["user"] = 1
            assert accused(guard) == [("suspected", "innocent")]
            assert accused(guard, "STOPPING") == [("suspected", "innocent")]
            assert accused(guard, "TABLE") == [("exact", "guilty")]  # no handler mentions that
    finally:
        signal.signal(signal.SIGUSR1, before)


# -- contexts that went elsewhere ------------------------------------------------------------------


def test_a_server_that_starts_a_request_in_the_context_of_the_one_before(state):
    contexts = []

    async def app(scope, receive, send):
        contexts.append(contextvars.copy_context())

    async def main(guarded):
        async def outer():  # a middleware around the guard, which writes
            state.write()
            await asyncio.sleep(0)
            await guarded(scope("second"), None, None)
            state.write()

        await guarded(scope("first"), None, None)
        await asyncio.get_running_loop().create_task(outer(), context=contexts[0])

    with watching() as guard:
        asyncio.run(main(guard.asgi(app)))
        assert accused(guard) == []


def test_a_future_that_another_request_resolves(state):
    async def app(scope, receive, send):
        if scope["path"] == "guilty":
            await future
            state.write()
        else:
            await asyncio.sleep(0.01)
            future.set_result(None)
            await asyncio.sleep(0.01)

    async def main(guarded):
        global future
        future = asyncio.get_running_loop().create_future()
        await asyncio.gather(*(guarded(scope(path), None, None) for path in ("guilty", "innocent")))

    with watching() as guard:
        asyncio.run(main(guard.asgi(app)))
        assert accused(guard) == [("exact", "guilty")]


def test_a_websocket_that_is_held_open(state):
    async def app(scope, receive, send):
        while (await receive())["type"] != "websocket.disconnect":
            await asyncio.sleep(0)
            if scope["path"] == "guilty":
                state.write()

    async def main(guarded):
        async def connect(path):
            messages = [{"type": "websocket.receive", "text": "x"}] * 3 + [{"type": "websocket.disconnect"}]

            async def receive():
                await asyncio.sleep(0.002)
                return messages.pop(0)

            await guarded({**scope(path), "type": "websocket"}, receive, None)

        await asyncio.gather(connect("guilty"), connect("innocent"), connect("other"))

    with watching() as guard:
        asyncio.run(main(guard.asgi(app)))
        assert accused(guard) == [("exact", "guilty")] * 3


def test_a_generator_that_another_request_resumes(state):
    with watching() as guard:
        with guard.request("began"):
            generator = state.generator()
            next(generator)
        with guard.request("resumed"):
            assert next(generator, None) is None
        assert accused(guard) == [("exact", "resumed")]
