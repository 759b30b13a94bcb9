"""The line of a change: the right one, on every interpreter, and nothing left behind."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stateguard import Guard
from stateguard.attribution.choose import choose_tracer
from stateguard.report.text import render_leak
from tests.attribution import shared
from tests.attribution.driver import STATE, exact, guarding, innocents, line_of, serve


def at(write: str) -> Any:
    async def work(user: str) -> None:
        await shared.pause()
        shared.WRITES[write](user)
        await shared.pause()

    return work


@pytest.mark.parametrize("write", shared.WRITES)
def test_always_finds_the_line_at_the_first_occurrence(write: str) -> None:
    with guarding(locate="always") as guard:
        asyncio.run(serve(guard, at(write)))
        assert len(exact(guard.leaks)) >= 4
        for leak in exact(guard.leaks):
            assert leak.location is not None
            assert (leak.location.line, leak.location.function) == (line_of(write), write)
            assert leak.location.file == shared.__file__
            assert f"# WRITE {write}" in leak.location.source


@pytest.mark.parametrize("write", shared.WRITES)
def test_auto_finds_the_line_once_something_has_changed(write: str) -> None:
    with guarding(locate="auto") as guard:
        for _ in range(3):
            asyncio.run(serve(guard, at(write)))
        located = [leak.location for leak in exact(guard.leaks) if leak.location]
        assert all(bool(leak.unlocated) == (leak.location is None) for leak in guard.leaks)
        assert "from the next occurrence on" in guard.leaks[0].unlocated
        assert len(located) >= 4
        assert {place.line for place in located} == {line_of(write)}
        assert not guard.finder.armed


def test_never_arms_nothing() -> None:
    with guarding(locate="never") as guard:
        asyncio.run(serve(guard, shared.direct))
        assert guard.leaks
        assert all(leak.location is None for leak in guard.leaks)
        assert all('locate="never"' in leak.unlocated for leak in guard.leaks)
        assert not guard.finder.armed


def test_the_application_part_of_the_stack_is_there() -> None:
    with guarding(locate="always") as guard:
        asyncio.run(serve(guard, shared.child_task, requests=4))
        (leak,) = guard.leaks
        assert [frame.function for frame in leak.location.stack] == ["child", "append"]


def test_a_call_over_several_lines_is_one_line() -> None:
    with guarding(locate="always") as guard:

        async def work(user: str) -> None:
            shared.update(user)

        asyncio.run(serve(guard, work, requests=4))
        (leak,) = guard.leaks
        assert leak.location.source == "TABLE.update("


def tool_ids() -> list[Any]:
    return [sys.monitoring.get_tool(i) for i in range(6)] if sys.version_info >= (3, 12) else []


@pytest.mark.parametrize("locate", ["always", "auto"])
def test_a_closed_guard_leaves_no_trace(locate: str) -> None:
    before = tool_ids(), sys.gettrace()
    with guarding(locate=locate) as guard:
        asyncio.run(serve(guard, shared.direct))
    assert (tool_ids(), sys.gettrace()) == before


def test_auto_disarms_when_everything_is_located() -> None:
    before = tool_ids()
    with guarding(locate="auto") as guard:
        asyncio.run(serve(guard, shared.direct, requests=4))
        asyncio.run(serve(guard, shared.direct, requests=4))
        assert guard.leaks[-1].location is not None
        assert not guard.finder.armed
        assert tool_ids() == before
        assert sys.gettrace() is None or sys.version_info >= (3, 12)


def _requests(guard: Any, write: str, rounds: int, threads: int) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        user = environ["HTTP_X_REQUEST_ID"]
        time.sleep(random.random() * 0.004)
        if "guilty" in user:
            shared.WRITES[write](user)
        time.sleep(random.random() * 0.004)
        return [b""]

    wrapped = guard.wsgi(app)

    def one(i: int, n: int) -> None:
        name = f"{'guilty' if i % 4 == 0 else 'innocent'}-{i}-{n}"
        wrapped({"HTTP_X_REQUEST_ID": name, "REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *a: None)

    for n in range(rounds):
        running = [threading.Thread(target=one, args=(i, n)) for i in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()


@pytest.mark.parametrize("write", shared.WRITES)
@pytest.mark.parametrize("locate", ["always", "auto"])
def test_threads_are_exact_or_suspected_never_wrong(write: str, locate: str) -> None:
    random.seed(7)
    with guarding(locate=locate) as guard:
        _requests(guard, write, rounds=5, threads=12)
        assert innocents(guard.leaks) == []
        assert exact(guard.leaks), "a leak that recurs this often must have been proven once"
        for leak in guard.leaks:
            accused = [leak.request] if leak.request else leak.suspects
            assert any("guilty" in info.id for info in accused)
        located = [leak.location for leak in exact(guard.leaks) if leak.location]
        assert {place.line for place in located} == {line_of(write)}


@pytest.mark.usefixtures("often")
def test_threads_stay_sound_when_switches_are_forced() -> None:
    with guarding(locate="always") as guard:
        _requests(guard, "append", rounds=3, threads=12)
        assert innocents(guard.leaks) == []
        assert len(guard.leaks) == 9


def test_a_debugger_keeps_its_trace_function() -> None:
    events: list[str] = []

    def debugger(frame: Any, event: str, arg: Any) -> Any:
        events.append(event)
        return None

    previous = sys.gettrace()
    sys.settrace(debugger)
    try:
        tracer, reason = choose_tracer()
        with guarding(locate="always") as guard:
            asyncio.run(serve(guard, shared.direct, requests=4))
            found = guard.leaks[0].location
        assert sys.gettrace() is debugger
    finally:
        sys.settrace(previous)
    if sys.version_info >= (3, 12):
        assert tracer is not None
        assert found.line == line_of("append")
    else:
        assert tracer is None
        assert "sys.settrace is taken by" in reason
        assert found is None
        assert guard.leaks[0].unlocated == reason


@contextmanager
def every_tracer_taken() -> Iterator[None]:
    """What debuggers, profilers and coverage measurements do, all at once."""
    previous = sys.gettrace()
    mine = []
    sys.settrace(lambda *event: None)
    try:
        if sys.version_info >= (3, 12):
            for tool in range(6):
                if sys.monitoring.get_tool(tool) is None:
                    sys.monitoring.use_tool_id(tool, f"somebody-{tool}")
                    mine.append(tool)
        yield
    finally:
        for tool in mine:
            sys.monitoring.free_tool_id(tool)
        sys.settrace(previous)


@pytest.mark.parametrize("locate", ["always", "auto"])
def test_who_holds_every_tracer_is_named_in_the_message(locate: str) -> None:
    with every_tracer_taken():
        reason = choose_tracer()[1]
        with guarding(locate=locate) as guard:
            asyncio.run(serve(guard, shared.direct, requests=4))
            asyncio.run(serve(guard, shared.direct, requests=4))
    assert "taken" in reason
    assert "somebody" in reason or sys.version_info < (3, 12)
    assert [(leak.confidence, leak.location, leak.unlocated) for leak in guard.leaks] == [
        ("exact", None, reason)
    ] * 2
    assert render_leak(guard.leaks[0]).count(reason) == 1


def test_lines_are_found_once_a_tracer_is_free() -> None:
    with guarding() as guard:
        with every_tracer_taken():
            asyncio.run(serve(guard, shared.direct, requests=4))
        for _ in range(2):
            asyncio.run(serve(guard, shared.direct, requests=4))
        assert [leak.location is not None for leak in guard.leaks] == [False, False, True]


def test_watching_one_name_still_finds_the_line() -> None:
    with guarding(watch=[f"{STATE}:LOG"], locate="always") as guard:
        asyncio.run(serve(guard, at("append"), requests=4))
        asyncio.run(serve(guard, at("nested"), requests=4))
        assert [(leak.root, leak.location.line) for leak in guard.leaks] == [
            (f"{STATE}.LOG", line_of("append"))
        ]


def test_code_outside_of_requests_is_not_traced_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stateguard.attribution.finder.LINES", 1000)
    module = types.ModuleType("busy_module")
    source = "LOG = []\n\n\ndef busy(turns):\n    for turn in range(turns):\n        total = turn + turn\n"
    exec(compile(source, "busy_module.py", "exec"), vars(module))
    module.__file__ = "busy_module.py"
    monkeypatch.setitem(sys.modules, "busy_module", module)
    guard = Guard(watch=["busy_module"], on_leak=lambda leak: None, budget=1)
    try:
        with guard.request("one"):
            module.LOG.append("word")
        assert guard.finder is not None
        assert guard.finder.armed
        module.busy(2000)
        # On 3.11 only threads inside of requests are traced at all, so there is nothing to give up.
        assert not guard.finder.armed or sys.version_info < (3, 12)
        with guard.request("two"):
            module.LOG.append("word")
        assert guard.finder.armed  # and it is armed again when something changes again
    finally:
        guard.close()
