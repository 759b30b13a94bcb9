"""Harmless writes of popular applications are rated as what they are; leaks that look alike are not."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from stateguard import Guard
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
