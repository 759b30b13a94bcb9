"""A request that runs alone among requests is not blamed for what code outside any request does meanwhile."""

from __future__ import annotations

import sys
import threading
import types

import pytest

from tests.attribution.driver import exact, guarding

MODULE = "tests.attribution.outside_state"

SOURCE = """
LOG = []
TABLE = {"old": []}

def write():
    LOG.append("written outside")

def write_now_and_then(go_on, written):
    while go_on.wait(5) and not written.is_set():
        LOG.append("written outside")
        written.set()
        go_on.clear()

def handler(wait):
    wait()
"""


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(compile(SOURCE, "outside_state.py", "exec"), module.__dict__)
    yield module
    del sys.modules[MODULE]


def outcome(guard):
    return [(leak.path, leak.confidence) for leak in guard.leaks]


def test_a_background_thread_that_loops(state):
    go_on, written = threading.Event(), threading.Event()

    def wait():
        go_on.set()
        assert written.wait(5)

    thread = threading.Thread(target=state.write_now_and_then, args=(go_on, written))
    with guarding(watch=[MODULE]) as guard:
        guard.start()
        thread.start()
        with guard.request("innocent"):
            state.handler(wait)
        assert outcome(guard) == [(f"{MODULE}.LOG", "suspected")]
    go_on.set()
    thread.join(5)


def test_a_timer_that_has_ended(state):
    with guarding(watch=[MODULE]) as guard:
        guard.start()
        timer = threading.Timer(0.05, state.write)
        timer.start()
        with guard.request("innocent"):
            state.handler(timer.join)
        assert exact(guard.leaks) == []


def test_code_around_the_guard_on_another_thread(state):
    """An outer middleware writes, and its request begins while another is under way."""
    with guarding(watch=[MODULE]) as guard:
        guard.start()

        def outer():
            state.write()
            with guard.request("other"):
                pass

        thread = threading.Thread(target=outer)

        def wait():
            thread.start()
            thread.join(5)

        with guard.request("innocent"):
            state.handler(wait)
        assert exact(guard.leaks) == []


def test_threads_that_only_wait_are_no_obstacle(state):
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, args=(10,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    try:
        with guarding(watch=[MODULE]) as guard:
            guard.start()
            with guard.request("guilty"):
                state.write()
            assert outcome(guard) == [(f"{MODULE}.LOG", "exact")]
    finally:
        done.set()
        for thread in threads:
            thread.join(5)


def test_a_renamed_key_is_seen_at_the_end_of_its_stretch_in_any_gait(state):
    with guarding(watch=[MODULE]) as guard:
        guard.start()
        with guard.request("first"):
            state.TABLE["more"] = 1
        guard.engine.pace.gait = "brief"
        with guard.request("renames"):
            state.TABLE["new"] = state.TABLE.pop("old")
            state.TABLE["more"] = state.TABLE.pop("more")
        assert {leak.request.path for leak in guard.leaks} == {"first", "renames"}
