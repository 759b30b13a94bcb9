"""Harmless writes of popular applications are rated as what they are; leaks that look alike are not."""

from __future__ import annotations

import io
import threading
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from stateguard import Guard
from stateguard.rating import Rater
from stateguard.watch.watcher import Watcher
from tests.alarm import restorable as state


class ReadWriteLock:
    """As in radicale: a lock written in Python keeps flags."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.writer = False
        self.user = ""
        self.owner: threading.Thread | None = None


class Plain:
    def __init__(self) -> None:
        self.admin = False


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    before = state.NAME
    yield
    state.NAME = before
    state.DEQUE.clear()
    state.DEQUE.append("a")


def _severity(write: Any) -> set[str]:
    guard = Guard(watch=["tests.alarm.restorable", "tests.alarm.test_quiet"], process=False, on_leak=str)
    with guard.request("first"):
        pass
    with guard.request("job"):
        write()
    guard.close()
    return {leak.severity for leak in guard.leaks}


def test_the_latest_of_something_in_a_limited_deque() -> None:
    ring = state.NAME = deque("abcde", maxlen=5)
    assert _severity(lambda: ring.append("x")) == {"low"}
    assert _severity(lambda: ring.appendleft("w")) == {"low"}
    assert _severity(lambda: ring.extend(["y", "z"])) == {"low"}
    assert _severity(lambda: ring.__setitem__(2, "u")) == {"high"}
    assert _severity(lambda: ring.extend("VWXYZ")) == {"low"}
    assert _severity(lambda: ring.rotate(2)) == {"note"}
    ring.clear()
    ring.append("a")
    assert _severity(lambda: ring.extend("VWXYZ")) == {"low"}, "it has filled up, and nothing is left"
    assert _severity(lambda: (ring.pop(), ring.pop(), ring.insert(1, "-"), ring.insert(1, "+"))) == {"high"}


def test_a_flag_beside_a_lock() -> None:
    lock = state.NAME = ReadWriteLock()
    assert _severity(lambda: setattr(lock, "writer", True)) == {"low"}
    lock.owner = None
    assert _severity(lambda: setattr(lock, "owner", threading.current_thread())) == {"low"}
    assert _severity(lambda: setattr(lock, "waiting", [threading.current_thread()])) == {"low"}
    assert _severity(lambda: setattr(lock, "waiting", [])) == {"low"}
    assert _severity(lambda: setattr(lock, "user", "ann")) == {"high"}
    plain = state.NAME = Plain()
    assert _severity(lambda: setattr(plain, "admin", True)) == {"high"}


def _severities_of_two(write: Any) -> set[tuple[str, str]]:
    """Of what has changed while two requests have run."""
    watcher = Watcher(["tests.alarm.restorable"], process=False)
    watcher.start()
    write()
    rater = Rater(watcher)
    return {(seen.change.kind, rater.rate(seen, None, requests=2)[0]) for seen in watcher.check()}


def _handles(count: int) -> list[Any]:
    return [io.TextIOWrapper(io.BytesIO()) for _ in range(count)]


def test_a_registry_of_what_is_under_way() -> None:
    table: dict[Any, Any] = dict(enumerate(_handles(2)))
    state.NAME = table
    assert _severities_of_two(table.clear) == {("cleared", "low")}, "each has taken out its own"
    table.update(enumerate(_handles(3)))
    assert _severities_of_two(table.clear) == {("cleared", "high")}, "more entries than requests"
    table.update(enumerate(_handles(2)))
    assert _severity(table.clear) == {"high"}, "by one request alone"
    table.update({"ann": ["x"], "bob": ["y"]})
    assert _severities_of_two(table.clear) == {("cleared", "high")}, "data, under keys that say whose"
    table.update({uuid.uuid4(): ["x"], uuid.uuid4(): ["y"]})
    assert _severities_of_two(table.clear) == {("cleared", "low")}

    streams = set(_handles(2))
    state.NAME = streams
    others = [threading.Lock(), threading.Lock()]
    assert _severities_of_two(lambda: (streams.clear(), streams.update(others))) == {("replaced", "low")}
    assert _severities_of_two(lambda: (streams.clear(), streams.update("ab"))) == {("replaced", "high")}


def test_what_stands_under_a_threads_identity_is_used_anew() -> None:
    me = threading.get_ident()
    mine, current, other = _handles(3)
    table: dict[Any, Any] = {me: mine, "current": current, 7: ["ann"]}
    state.NAME = table
    assert _severities_of_two(lambda: table.update({me: other})) == {("replaced", "low")}
    assert _severities_of_two(lambda: table.update(current=mine)) == {("replaced", "high")}
    assert _severities_of_two(lambda: table.update({7: ["bob"]})) == {("replaced", "high")}
    assert _severity(lambda: table.update({me: current})) == {"high"}
