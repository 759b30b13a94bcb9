"""Arming ends, and a disarmed guard leaves no trace function and no event behind, on any thread or frame."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from stateguard.attribution import finder
from tests.attribution import shared
from tests.attribution.driver import exact, guarding, line_of, serve

SHARED = "tests.attribution.shared"


def traces() -> Any:
    """Everything that this thread would notice of a tracer."""
    # A measurement of coverage has a tracer for each thread, all of one kind.
    found: list[Any] = [type(sys.gettrace()), type(threading.gettrace())]
    if sys.version_info >= (3, 12):
        monitoring = sys.monitoring
        found += [monitoring.get_tool(tool) for tool in range(6)]
        found += [monitoring.get_events(tool) for tool in range(6) if monitoring.get_tool(tool)]
        found += [
            monitoring.get_local_events(tool, function.__code__)
            for function in shared.WRITES.values()
            for tool in range(6)
            if monitoring.get_tool(tool)
        ]
    return found


def stuck() -> Any:
    """The local trace functions of the frames that are running here."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(frame.f_trace)
        frame = frame.f_back
    return found


@pytest.mark.parametrize("locate", ["always", "auto"])
def test_nothing_is_left_on_a_thread_that_was_inside_a_stretch(locate: str) -> None:
    before, found = traces(), []
    armed, disarmed = threading.Event(), threading.Event()

    def handler() -> None:
        shared.append("x")
        armed.set()
        assert disarmed.wait(10)
        shared.quiet("y")  # one more watched call: the first chance to notice
        found.append((traces(), stuck()))

    def app(environ: Any, start_response: Any) -> list[bytes]:
        handler()
        return [b""]

    with guarding(locate=locate) as guard:
        guard.start()
        if locate == "auto":
            guard.finder.want("something")
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
        thread = threading.Thread(target=guard.wsgi(app), args=(environ, lambda *a: None))
        thread.start()
        assert armed.wait(10)
    disarmed.set()
    thread.join(10)
    ((there, frames),) = found
    assert there == before
    assert not any(
        getattr(trace, "__self__", None) is not None and "stateguard" in repr(trace) for trace in frames
    )
    assert traces() == before


def test_arming_ends_after_so_many_lines(monkeypatch: Any) -> None:
    monkeypatch.setattr(finder, "LINES", 20)
    with guarding() as guard:
        guard.start()
        guard.finder.want("something that never changes again")
        assert guard.finder.armed
        with guard.request("many lines"):
            for _ in range(20):
                shared.quiet("x")
        assert not guard.finder.armed


def test_code_outside_any_request_uses_up_the_budget_as_well(monkeypatch: Any) -> None:
    monkeypatch.setattr(finder, "LINES", 20)
    with guarding() as guard:
        guard.start()
        guard.finder.want("something")
        for _ in range(20):
            shared.quiet("x")
        # On 3.11 the trace function is set on the threads of requests only: there is nothing to pay.
        assert guard.finder.armed == (sys.version_info < (3, 12))


def test_arming_ends_after_some_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(finder, "SECONDS", -1.0)
    monkeypatch.setattr(finder, "CLOCK_EVERY", 1)
    with guarding() as guard:
        guard.start()
        guard.finder.want("something")
        with guard.request("any"):
            shared.quiet("x")
        assert not guard.finder.armed


def test_a_guard_inside_another_does_not_end_its_lines() -> None:
    """Both follow lines on this thread; the inner one has nothing under way any more."""
    with guarding(locate="always") as outer, guarding(locate="always") as inner:
        outer.start()
        inner.start()
        with outer.request("outer"):
            with inner.request("inner"):
                pass
            shared.append("x")
        (leak,) = exact(outer.leaks)
        assert leak.location.line == line_of("append")


def test_closing_one_guard_leaves_the_other_its_tracer() -> None:
    with guarding(locate="always") as kept:
        with guarding(locate="always") as closed:
            asyncio.run(serve(closed, shared.direct, requests=4))
        asyncio.run(serve(kept, shared.direct, requests=4))
        assert {leak.location.line for leak in exact(kept.leaks)} == {line_of("append")}
