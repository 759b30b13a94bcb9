"""Following lines takes a share of the clock, whatever a look costs and however often state changes."""

from __future__ import annotations

from typing import Any

import pytest

from stateguard.attribution.purse import SAVED, Purse
from stateguard.pace import Pace
from tests.attribution import shared
from tests.attribution.driver import guarding

DEAR = 10_000_000
"""Nanoseconds that one look after a line takes here: five of them are a budget of 5 % of one second."""


class Time:
    """A clock that stands still until told, and a meter by which every look is dear."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.read = 0
        monkeypatch.setattr(Purse, "clock", lambda purse: self.now)
        monkeypatch.setattr(Purse, "meter", lambda purse: self._meter())
        monkeypatch.setattr(
            Pace, "weigh", lambda pace, requests: False
        )  # every request is looked at, on any machine

    def _meter(self) -> int:
        self.read += 1
        return self.read * DEAR

    @property
    def looks(self) -> int:
        """Looks after lines so far: the meter is read before and after each."""
        return self.read // 2


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def change(guard: Any, times: int = 1) -> None:
    for _ in range(times):
        with guard.request("a change"):
            shared.LOG.append("x")  # on a line that is not watched: it is never found
            for _ in range(20):
                shared.quiet("y")


def test_a_purse_refills_by_its_share_and_opens_when_it_is_full(time: Time) -> None:
    purse = Purse(0.05)
    assert purse.spend(49_000_000)
    assert purse.open()
    assert not purse.spend(2_000_000)
    assert not purse.open()
    time.now = SAVED
    assert not purse.open()  # it was overdrawn
    time.now += SAVED // 10
    assert purse.open()
    assert purse.spend(49_000_000)


def test_what_is_spent_slowly_is_never_too_much(time: Time) -> None:
    purse = Purse(0.05)
    for _ in range(1_000):
        time.now += SAVED
        assert purse.spend(40_000_000)


def test_looks_after_lines_take_a_share_of_the_clock(time: Time) -> None:
    with guarding(budget=0.05) as guard:
        guard.start()
        change(guard, 10)
        assert 5 <= time.looks <= 6
        assert not guard.finder.armed
        seconds = 10
        for _ in range(seconds * 10):
            time.now += SAVED // 10
            change(guard)
        assert 10 <= time.looks <= 6 * (seconds + 1)


def test_a_change_is_looked_for_again_when_the_purse_is_full(time: Time) -> None:
    with guarding(budget=0.05) as guard:
        guard.start()
        change(guard, 3)
        assert not guard.finder.armed
        time.now += 2 * SAVED
        with guard.request("another change"):
            shared.LOG.append("x")
        assert guard.finder.armed


def test_a_change_that_is_never_found_is_looked_for_ever_more_rarely(time: Time) -> None:
    armings = 0
    with guarding(budget=0.05) as guard:
        guard.start()
        for _ in range(200):
            time.now += 2 * SAVED
            with guard.request("a change"):
                shared.LOG.append("x")
            armings += guard.finder.armed
            guard.finder.disarm()
    assert armings == 20 + len([32, 64, 128])


@pytest.mark.parametrize(
    "options",
    [{"locate": "always", "budget": 0.05}, {"budget": 1}, {"on_leak": "restore", "budget": 0.05}],
    ids=["always", "budget", "restore"],
)
def test_those_who_ask_for_exactness_first_are_not_bounded(time: Time, options: dict[str, Any]) -> None:
    with guarding(**options) as guard:
        guard.start()
        change(guard, 10)
        assert guard.finder.armed
        assert time.looks > 100
