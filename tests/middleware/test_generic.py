"""Guarding any callable: a Lambda handler, a queue job, a script; and what forks and threads do."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from stateguard import current_scope, session
from stateguard.config import load_config
from stateguard.errors import ConfigError, NoActiveScope, SharedStateMutated

ROOT = Path(__file__).resolve().parents[2]


def found(guard):
    return [(leak.confidence, leak.request and leak.request.path) for leak in guard.leaks]


def test_a_block(state, make_guard):
    guard = make_guard()
    with guard.request("job", id="job-7") as request:
        assert request.info.id == "job-7"
        session().user_id = "ann"
        state.leak()
    with pytest.raises(NoActiveScope):
        session()
    [leak] = guard.leaks
    assert (leak.confidence, leak.request.protocol, leak.request.path) == ("exact", "call", "job")
    assert leak.request.id == "job-7"


def test_a_block_inside_a_block(state, make_guard):
    guard = make_guard()
    with guard.request("outer"):
        outer = current_scope()
        with guard.request("inner"):
            assert current_scope().parent is outer
            state.leak()
        assert current_scope() is outer
        state.AGENT.messages.append("x")
    assert found(guard) == [("exact", "inner"), ("exact", "outer")]


def test_a_decorated_function_keeps_its_looks(state, make_guard):
    guard = make_guard()

    @guard.guarded
    def handler(event, context=None):
        """Handle an event."""
        state.leak()
        return event

    assert handler({"a": 1}) == {"a": 1}
    assert handler.__name__ == "handler"
    assert handler.__doc__ == "Handle an event."
    assert found(guard)[0][1].endswith("handler")


def test_decorated_coroutine_functions_are_told_apart(state, make_guard):
    guard = make_guard(locate="never")

    @guard.guarded
    async def guilty():
        for _ in range(3):
            await asyncio.sleep(0)
            state.leak()

    @guard.guarded
    async def innocent():
        for _ in range(6):
            await asyncio.sleep(0)
        return session()

    async def main():
        await asyncio.gather(innocent(), guilty(), innocent())

    assert asyncio.iscoroutinefunction(guilty)
    asyncio.run(main())
    assert [confidence for confidence, _ in found(guard)] == ["exact"] * 3
    assert all(path.endswith("guilty") for _, path in found(guard))


def test_blocks_with_awaits_in_them_accuse_no_innocent(state, make_guard):
    """A block cannot know when its task gives way: with several under way nothing is proven."""
    guard = make_guard(locate="never")

    async def guilty():
        with guard.request("guilty"):
            for _ in range(3):
                await asyncio.sleep(0)
                state.leak()

    async def innocent():
        with guard.request("innocent"):
            for _ in range(6):
                await asyncio.sleep(0)

    async def main():
        await asyncio.gather(innocent(), guilty(), innocent())

    asyncio.run(main())
    assert guard.leaks
    for leak in guard.leaks:
        if leak.confidence == "exact":
            assert leak.request.path == "guilty"
        else:
            assert "guilty" in {info.path for info in leak.suspects}


def test_generator_functions_are_refused(make_guard):
    guard = make_guard()
    with pytest.raises(ConfigError, match="generator"):

        @guard.guarded
        def pieces():
            yield 1


def test_raise_mode(state, make_guard):
    guard = make_guard(on_leak="raise")

    @guard.guarded
    async def job():
        state.leak()

    with pytest.raises(SharedStateMutated):
        asyncio.run(job())


@pytest.mark.parametrize("mode", ["scope-only", "off"])
@pytest.mark.parametrize("kind", ["block", "function", "coroutine function"])
def test_modes_that_watch_nothing(mode, kind, state, make_guard):
    guard = make_guard(mode=mode)

    def work():
        state.leak()
        return session()

    async def work_async():
        return work()

    if kind == "block":
        with guard.request("job"):
            work()
    elif kind == "function":
        guard.guarded(work)()
    else:
        asyncio.run(guard.guarded(work_async)())
    assert guard.leaks == []


def test_many_threads(state, make_guard):
    """No deadlock, no internal failure, nothing left in flight, no thread that only read accused."""
    guard = make_guard(locate="never")
    errors = []

    def work(name):
        try:
            for n in range(30):
                with guard.request(name):
                    if name == "writer" and n % 10 == 0:
                        state.leak()
                    session().user_id = name
                    assert session().user_id == name
        except BaseException as error:
            errors.append(error)

    names = ["writer", *["reader"] * 5]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert guard.engine.failures == {}
    assert not guard.engine.active
    assert {leak.request.path for leak in guard.leaks if leak.confidence == "exact"} <= {"writer"}


FORKS = """
    import json, os, sys, threading, types
    from stateguard import Guard

    state = types.ModuleType("forked_state")
    state.HISTORY = []
    sys.modules["forked_state"] = state
    guard = Guard(watch=["forked_state"])
    guard.start()
    with guard.request("before the fork"):
        state.HISTORY.append("before")

    held = threading.Event()
    def hold():
        guard.engine.turn.lock.acquire()  # a thread of the parent is looking while it forks
        held.set()
        threading.Event().wait()
    threading.Thread(target=hold, daemon=True).start()
    held.wait()

    with_pipe = os.pipe()
    state.HISTORY.append("between")  # by the parent, outside any request
    child = os.fork()
    if child == 0:
        with guard.request("in the child"):
            pass
        with guard.request("guilty"):
            state.HISTORY.append("child")
        found = [(leak.request.path, leak.confidence, leak.request.id) for leak in guard.leaks]
        os.write(with_pipe[1], json.dumps([found, len(guard.engine.active), guard.engine.failures]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    sys.stdout.write(os.read(with_pipe[0], 65536).decode())
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_as_gunicorn_preload_does(make_guard):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKS)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    leaks, in_flight, failures = json.loads(done.stdout)
    assert [(path, confidence) for path, confidence, _ in leaks] == [
        ("before the fork", "exact"),
        ("guilty", "exact"),
    ]
    assert leaks[0][2].partition("-")[0] != leaks[1][2].partition("-")[0]  # ids of two workers differ
    assert (in_flight, failures) == (0, {})


def test_the_options_of_a_guard_stay_what_they_are(make_guard):
    config = make_guard(keep=7).config
    assert config.keep == 7
    assert config.rate_limit == 60
    assert "keep=7, " in repr(config)
    with pytest.raises(AttributeError, match="stay what they are"):
        config.keep = 8
    with pytest.raises(AttributeError, match="stay what they are"):
        del config.keep
    assert config.keep == 7


def test_options_stand_in_the_nearest_project_file(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.stateguard]\nkeep = 5\nrate-limit = 9\n")
    config = load_config({"rate_limit": 8}, str(inner))
    assert (config.keep, config.rate_limit) == (5, 8)
    (inner / "pyproject.toml").write_text("")
    assert load_config({}, str(inner)).keep == 1000
    (inner / "pyproject.toml").write_text("keep =")
    with pytest.raises(ConfigError, match="cannot read .*pyproject.toml"):
        load_config({}, str(inner))
