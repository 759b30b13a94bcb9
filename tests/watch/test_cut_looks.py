"""A look that has no time for all that differs: the rest is found, once, and is known to be late."""

from __future__ import annotations

import sys
import types
from time import perf_counter_ns

import pytest

from stateguard import Guard
from stateguard.settling import Settling
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.cut_state"


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    module.LISTS = {f"n{i}": [i] for i in range(300)}
    module.GROWN = [{"number": i} for i in range(100)]
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


@pytest.fixture
def watcher(state):
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    watcher.graph.allowance = 0  # one difference per look
    return watcher


def names(seen):
    return [(one.path.removeprefix(f"{MODULE}."), one.late) for one in seen]


def change(state, *numbers):
    for i in numbers:
        state.LISTS[f"n{i}"].append("x")


def test_what_is_left_out_is_told_by_a_later_look_once(state, watcher):
    change(state, *range(200))
    told = []
    while watcher.graph.behind or not told:
        watcher.graph.behind = False
        told += names(watcher.check())
    assert sorted(path for path, _ in told) == sorted(f"LISTS['n{i}']" for i in range(200))
    assert watcher.check() == []
    assert not watcher.graph.behind


def test_of_what_had_changed_before_all_is_late_until_a_look_gets_to_the_end(state, watcher):
    watcher.graph.allowance = None
    change(state, 1, 2, 3)
    assert len(watcher.check()) == 3
    watcher.graph.allowance = 0
    change(state, 1, 2, 3)
    assert names(watcher.check_hot()) == [("LISTS['n1']", False)]
    assert watcher.graph.behind
    assert names(watcher.check_hot()) == [("LISTS['n2']", True)]
    assert names(watcher.check_hot()) == [("LISTS['n3']", True)]
    assert watcher.check_hot() == []
    change(state, 1)
    assert names(watcher.check_hot()) == [("LISTS['n1']", False)]


def test_nobody_waits_for_those_that_change_all_the_time(state, watcher):
    watcher.graph.allowance = None
    change(state, *range(20))
    watcher.check()
    watcher.graph.allowance = 0
    change(state, 19)
    seen = []
    for _ in range(30):
        change(state, *range(19))
        seen += [path for path, _ in names(watcher.check_hot())]
    assert "LISTS['n19']" in seen
    assert {f"LISTS['n{i}']" for i in range(19)} <= set(seen)


def test_what_is_changed_while_its_parts_are_still_met_is_late(state, watcher):
    watcher.graph.allowance = None
    state.GROWN.append({"number": -1})
    watcher.check()
    watcher.graph.allowance = 0
    state.GROWN.extend({"number": i} for i in range(500))
    assert names(watcher.check_hot()) == [("GROWN", False)]
    state.GROWN.append("while it is open")
    assert watcher.check_hot() == []
    while watcher.graph.walk:
        watcher.check_slice(perf_counter_ns())
    assert names(watcher.check_hot()) == [("GROWN", True)]
    state.GROWN.append("later")
    assert names(watcher.check_hot()) == [("GROWN", False)]


def test_in_slices_it_is_the_same(state, watcher):
    change(state, *range(100))
    told, rotation = [], watcher.graph.rotation
    while rotation.rounds < 3:
        told += [path for path, _ in names(watcher.check_slice(perf_counter_ns()))]
    assert sorted(told) == sorted(f"LISTS['n{i}']" for i in range(100))


def test_what_takes_long_to_tell_is_told_a_few_at_a_time(state, watcher):
    watcher.graph.allowance = 10**9
    watcher.graph.telling = 10**8
    change(state, *range(100))
    assert 16 <= len(watcher.check()) <= 21


# -- who is accused -----------------------------------------------------------------------------------


@pytest.fixture
def verdicts(monkeypatch):
    """Of each change its path, whether a verdict may be exact, and the candidates."""
    found = []
    record = Settling.record

    def recorded(self, seen, candidates, unproven=False, *rest, **named):
        who = [candidate.info.path for candidate in candidates]
        found.extend((one.path.removeprefix(f"{MODULE}."), unproven, who) for one in seen)
        return record(self, seen, candidates, unproven, *rest, **named)

    monkeypatch.setattr(Settling, "record", recorded)
    return found


@pytest.fixture
def guard(state):
    guard = Guard(watch=[MODULE], process=False)
    guard.start()
    yield guard
    guard.close()


def until(guard, condition):
    for n in range(20_000):
        if condition():
            return
        with guard.request(f"later {n}"):
            pass
    raise AssertionError("never")


def test_who_wrote_while_its_parts_were_still_met_is_among_the_suspects(state, guard, verdicts):
    with guard.request("first"):
        state.GROWN.append({"number": -1})
    guard.engine.watcher.graph.allowance = 0
    with guard.request("many"):
        state.GROWN.extend({"number": i} for i in range(2_000))
    assert guard.engine.watcher.graph.walk.is_open(state.GROWN)
    verdicts.clear()
    with guard.request("meanwhile"):
        state.GROWN.append("while it is open")
    until(guard, lambda: verdicts)
    [(path, unproven, who)] = verdicts
    assert path == "GROWN"
    assert unproven
    assert "meanwhile" in who or len(who) > 1


def test_what_a_look_has_left_out_is_nobodys_for_certain(state, guard, verdicts):
    with guard.request("first"):
        change(state, 1, 2, 3)
    graph = guard.engine.watcher.graph
    graph.allowance = 0
    verdicts.clear()
    with guard.request("writer"):
        change(state, 1, 2, 3, 200)
    with guard.request("innocent"):
        pass
    until(guard, lambda: len(verdicts) == 4)
    assert guard.stats.slicing or guard.stats.rounds
    for path, unproven, who in verdicts:
        assert who == ["writer"] or (unproven and "writer" in who), path
    assert {path for path, *_ in verdicts} == {f"LISTS['n{i}']" for i in (1, 2, 3, 200)}


def test_what_the_application_writes_at_start_up_is_nobodys_however_much(state, guard, verdicts):
    change(state, *range(300))
    guard.engine.watcher.graph.allowance = 0
    guard.engine.baseline.renew(50_000)
    for n in range(20):
        with guard.request(f"request {n}"):
            pass
    assert verdicts == []
    assert not guard.stats.slicing


def test_of_a_container_that_is_looked_at_by_its_end_the_rest_is_late(state, watcher):
    watcher.graph.allowance = 10**10
    state.HUGE = {f"k{i}": [i] for i in range(40_000)}
    watcher.check()
    state.HUGE["last"] = []
    assert names(watcher.check()) == [("HUGE['last']", False)]
    state.HUGE["k20000"] = "by somebody else"
    assert watcher.check_hot() == []
    del state.HUGE["last"]
    assert sorted(names(watcher.check_hot())) == [("HUGE['k20000']", True), ("HUGE['last']", True)]


def test_what_is_open_at_start_up_is_taken_for_granted_as_well(state, watcher):
    state.GROWN.extend({"number": i} for i in range(2_000))
    watcher.check()
    assert watcher.graph.walk.is_open(state.GROWN)
    state.GROWN.append("at start-up")
    watcher.accept()
    assert watcher.check() == []
    assert watcher.check_hot() == []


def test_how_long_telling_takes_is_not_reckoned_from_start_up(state, watcher):
    change(state, 1)
    watcher.accept()
    watcher.told()
    assert watcher.graph.telling == 0
    change(state, 1)
    watcher.check()
    watcher._telling = 1, perf_counter_ns() - 10**12
    watcher.told()
    assert watcher.graph.telling <= 20_000_000


def test_the_writer_is_remembered_while_something_is_left_out(state, guard, verdicts):
    with guard.request("first"):
        change(state, *range(100))
    guard.engine.watcher.graph.allowance = 0
    verdicts.clear()
    with guard.request("writer"):
        change(state, *range(100))
    until(guard, lambda: len(verdicts) == 100)
    for path, unproven, who in verdicts:
        assert who == ["writer"] or (unproven and ("writer" in who or len(who) > 90)), path
