"""A write inside a library or a C function: the line that called it is named, and what it called."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from stateguard import Guard
from stateguard.report.text import render_leak
from tests.attribution import callers


@pytest.fixture
def guard() -> Iterator[Guard]:
    callers.reset()
    guard = Guard(watch=[callers.__name__], process=False, locate="always", on_leak=lambda leak: None)
    yield guard
    guard.close()


@pytest.mark.parametrize("write", callers.WRITES)
def test_the_line_that_called_and_what_it_called(guard: Guard, write: str) -> None:
    lines, first = inspect.getsourcelines(callers.WRITES[write])
    (marked,) = (i for i, line in enumerate(lines) if "# WRITE" in line)
    expected = lines[marked].rpartition("# WRITE ")[2].strip()
    with guard.request("one"):
        callers.endpoint(write, "ann")
    leak = guard.leaks[-1]
    assert leak.confidence == "exact"
    place = leak.location
    assert place is not None
    assert (place.file, place.line, place.function) == (callers.__file__, first + marked, write)
    assert str(place.via) == expected
    assert [frame.function for frame in place.stack] == ["endpoint", "service", write]
    assert [frame.line for frame in place.stack][-1] == place.line
    text = render_leak(leak)
    shown = place.via is not None and not place.source.strip().startswith(f"{expected}(")
    assert (f"(written by {expected})" in text) == shown
    assert "  called  endpoint:" in text


def test_a_source_that_is_gone_is_no_obstacle(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linecache.getlines", lambda file, *more: [])
    monkeypatch.setattr("linecache.getline", lambda file, line, *more: "")
    source = "def anew(user):\n    heapq.heappush(LOG, user)\n"
    exec(compile(source, callers.__file__, "exec"), vars(callers))
    try:
        with guard.request("one"):
            callers.anew("ann")
    finally:
        del callers.anew
    place = guard.leaks[-1].location
    assert place is not None
    assert (place.line, place.function, place.via) == (2, "anew", None)


def test_a_function_that_had_begun_before_lines_were_followed() -> None:
    callers.reset()
    guard = Guard(watch=[callers.__name__], process=False, budget=1, on_leak=lambda leak: None)
    try:
        with guard.request("one"):
            callers.armed_within(guard, "ann")
        place = guard.leaks[-1].location
    finally:
        guard.close()
    lines, first = inspect.getsourcelines(callers.armed_within)
    (marked,) = (i for i, line in enumerate(lines) if "# WRITE" in line)
    assert place is None or place.line == first + marked
