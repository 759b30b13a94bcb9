"""Warm-up: nothing is said or raised until a worker is warm."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stateguard import Guard
from stateguard.errors import ConfigError, SharedStateMutated
from tests.alarm import state


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    state.HISTORY.clear()


def call(guard: Guard, times: int) -> None:
    for _ in range(times):
        with guard.request("job"):
            state.HISTORY.append("word")


def guarded(**options: Any) -> Guard:
    return Guard(watch=["tests.alarm.state"], process=False, **{"on_leak": print, **options})


@pytest.mark.parametrize("warm_up", [3, "3", "3 requests"])
def test_the_first_requests_are_not_reported(warm_up: int | str) -> None:
    guard = guarded(warm_up=warm_up)
    call(guard, 3)
    assert guard.leaks == []
    call(guard, 2)
    assert len(guard.leaks) == 2
    guard.close()


def test_nothing_is_raised_before(capsys: pytest.CaptureFixture[str]) -> None:
    guard = guarded(warm_up=2, on_leak="raise")
    call(guard, 2)
    with pytest.raises(SharedStateMutated):
        call(guard, 1)
    guard.close()


def test_seconds_count_from_the_first_request() -> None:
    guard = guarded(warm_up="0.3s")
    time.sleep(0.35)
    call(guard, 1)
    assert guard.leaks == []
    time.sleep(0.35)
    call(guard, 1)
    assert len(guard.leaks) == 1
    guard.close()


def test_a_forked_worker_warms_up_for_itself() -> None:
    guard = guarded(warm_up=2)
    call(guard, 3)
    child = os.fork()
    if not child:
        code = 3
        try:
            before = len(guard.leaks)
            call(guard, 2)
            cold = len(guard.leaks) == before
            call(guard, 1)
            code = 0 if cold and len(guard.leaks) == before + 1 else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    guard.close()


@pytest.mark.parametrize("wrong", ["soon", -1, "-2s", "nan s", "1e9s"])
def test_a_wrong_value_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="warm_up"):
        guarded(warm_up=wrong)
