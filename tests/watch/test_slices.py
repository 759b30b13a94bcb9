"""State too large to be compared at once: walked in portions, compared in slices, found all the same."""

from __future__ import annotations

import gc
import logging
import sys
import time
import types
import weakref

import pytest

from stateguard import Guard
from stateguard.pace import LOOKS, Pace
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.large_state"


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    module.users = {f"user-{n}": [{"role": "user", "content": f"hello {n}"}] for n in range(1_000)}
    module.log = []
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


@pytest.fixture
def guard(state):
    guard = Guard(watch=[MODULE], process=False, max_pause=0.00005, budget=0.5)
    guard.start()
    yield guard
    guard.close()


def serve(guard, times=1, work=lambda: None):
    for n in range(times):
        with guard.request(f"request {n}"):
            work()


def until_found(guard, found, limit=50_000):
    """Serve requests until ``found()``, and say how many it took."""
    for n in range(limit):
        if found():
            return n
        serve(guard)
    raise AssertionError("not found")


def whole_rounds(guard, n):
    rounds = guard.stats.rounds
    until_found(guard, lambda: guard.stats.rounds >= rounds + n)


def test_a_large_state_is_compared_in_slices_and_it_is_said_once(state, caplog):
    guard = Guard(watch=[MODULE], process=False, max_pause=0.00005)
    try:
        with caplog.at_level(logging.WARNING, "stateguard"):
            guard.start()
            serve(guard, 50)
        assert guard.stats.slicing
        assert len([record for record in caplog.records if "in slices" in record.getMessage()]) == 1
    finally:
        guard.close()


def test_a_change_is_found_within_a_round_and_is_a_suspicion(state, guard):
    whole_rounds(guard, 1)
    for user in ("user-0", "user-500", "user-999"):
        serve(guard, work=lambda: state.users[user][0].update(content="overheard"))
        rounds = guard.stats.rounds
        until_found(guard, lambda: any(user in leak.path for leak in guard.leaks))
        assert guard.stats.rounds <= rounds + 2
        [leak] = [leak for leak in guard.leaks if user in leak.path]
        assert (leak.confidence, leak.kind) == ("suspected", "replaced")
        assert leak.suspects


def test_what_has_changed_before_is_proven_at_once(state, guard):
    serve(guard, work=lambda: state.log.append("first"))
    until_found(guard, lambda: guard.leaks)
    guard.engine.pace.gait = "strict"  # a loop that does nothing but begin requests makes it sparse
    serve(guard, work=lambda: state.log.append("second"))
    assert [leak.confidence for leak in guard.leaks] == ["suspected", "exact"]
    assert guard.leaks[-1].path == f"{MODULE}.log"


def test_nothing_is_accused_where_nothing_changes(state, guard):
    whole_rounds(guard, 3)
    assert guard.leaks == []


def test_what_grows_during_a_round_is_watched_in_the_end(state, guard):
    whole_rounds(guard, 1)
    serve(guard, work=lambda: state.users.update({f"new-{n}": [{"role": f"{n}"}] for n in range(1_000)}))
    until_found(guard, lambda: guard.stats.nodes == 4_003)
    before = len(guard.leaks)
    serve(guard, work=lambda: state.users["new-999"][0].update(role="admin"))
    until_found(guard, lambda: len(guard.leaks) > before)
    assert "new-999" in guard.leaks[-1].path


def test_what_goes_during_a_round_is_let_go_of(state, guard):
    class Canary(list):
        pass

    state.users["user-7"].append(Canary())
    guard.start()
    gone = weakref.ref(state.users["user-7"][1])
    serve(guard, work=lambda: state.users.clear())

    def is_gone():
        gc.collect(0)
        return gone() is None

    until_found(guard, is_gone)
    until_found(guard, lambda: guard.stats.nodes < 10)


def test_when_there_is_room_again_everything_is_compared_at_once(state):
    guard = Guard(watch=[MODULE], process=False, max_pause=0.0001, budget=0.5)
    try:
        guard.start()
        assert guard.stats.slicing
        serve(guard, work=lambda: state.users.clear())
        until_found(guard, lambda: not guard.stats.slicing)
        guard.engine.pace.gait = "strict"  # a busy machine may have made it brief
        serve(guard, work=lambda: state.log.append("x"))
        assert guard.leaks[-1].confidence == "exact"
        assert guard.stats.lag_requests == 0
    finally:
        guard.close()


def test_the_graph_after_slices_is_the_graph_built_anew(state):
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    for n in range(40):
        state.users[f"user-{n}"].append({"n": [n]})
        del state.users[f"user-{999 - n}"]
        if n % 3 == 0:
            watcher.check_hot()
        watcher.check_slice(time.perf_counter_ns() + 300_000)
    rounds = watcher.graph.rotation.rounds
    while watcher.graph.rotation.rounds < rounds + 3 or watcher.graph.unsettled:
        watcher.check_slice(time.perf_counter_ns() + 1_000_000)
    anew = Watcher([MODULE], process=False)
    anew.start()
    assert len(watcher.graph) == len(anew.graph)
    assert watcher.check() == []


def test_a_large_baseline_is_taken_beside_the_requests(state):
    state.more = [[[n]] for n in range(20_000)]
    guard = Guard(watch=[MODULE], process=False)
    try:
        serve(guard)
        assert not guard.stats.ready
        while not guard.stats.ready:
            serve(guard, work=lambda: time.sleep(0.001))
        assert guard.stats.nodes > 40_000
        assert guard.stats.walk_seconds > 0
        serve(guard, work=lambda: state.more[19_999][0].append("found"))
        until_found(guard, lambda: guard.leaks)
        assert guard.leaks[0].path.startswith(f"{MODULE}.more[19999]")
    finally:
        guard.close()


def test_a_guard_is_closed_in_the_middle_of_its_walk(state):
    state.more = [[[n]] for n in range(50_000)]
    guard = Guard(watch=[MODULE], process=False)
    serve(guard)
    assert not guard.stats.ready
    guard.close()
    assert not guard.stats.ready
    assert guard.stats.nodes == 0
    gone = weakref.ref(type("Mark", (set,), {})())
    assert gone() is None
    serve(guard)


def test_a_budget_of_one_and_raise_mode_take_their_time(state):
    for options in ({"budget": 1}, {"on_leak": "raise"}, {"locate": "always"}):
        guard = Guard(watch=[MODULE], process=False, max_pause=0.00005, **options)
        try:
            serve(guard)
            assert guard.stats.ready
            assert not guard.stats.slicing
        finally:
            guard.close()


def test_a_tiny_budget_still_finds_it(state):
    guard = Guard(watch=[MODULE], process=False, max_pause=0.00005, budget=0.01)
    try:
        guard.start()
        serve(guard, work=lambda: state.users["user-600"][0].update(content="overheard"))
        until_found(guard, lambda: guard.leaks, limit=500_000)
    finally:
        guard.close()


def test_one_slow_look_is_not_enough_to_slice():
    pace = Pace(0.05, fixed=False, max_pause=0.002)
    for cost in [5_000_000] * (LOOKS - 1) + [100_000] + [5_000_000] * (LOOKS - 1):
        pace._weigh_look(cost)
        assert not pace.slicing
    pace._weigh_look(5_000_000)
    assert pace.slicing


def test_the_figures_add_up(state, guard):
    serve(guard, 20)
    stats = guard.stats
    assert stats.ready
    assert stats.requests == 20
    assert stats.nodes > 2_000
    assert stats.slices > 0
    assert 0 < stats.seconds < stats.request_seconds * 10
    assert stats.longest_pause > 0
    assert stats.memory > stats.nodes * 16
    assert stats.to_dict()["share"] == stats.share


def test_without_a_guard_at_work_there_are_no_figures():
    assert Guard(mode="off").stats.to_dict()["nodes"] == 0
    assert Guard(mode="scope-only").stats.share == 0


@pytest.fixture
def tables():
    """A few objects with many entries each: comparing them takes long, though they are few."""
    module = types.ModuleType(MODULE)
    for n in range(30):
        setattr(module, f"T{n}", {k: k for k in range(5_000)})
    sys.modules[MODULE] = module
    guard = Guard(watch=[MODULE], process=False, max_pause=0.00005, budget=0.5)
    guard.start()
    yield module, guard
    guard.close()
    del sys.modules[MODULE]


def not_by_the_innocent(guard):
    for leak in guard.leaks:
        named = {one.path for one in (leak.request, *leak.suspects) if one is not None}
        # Of those that a round takes, the latest are remembered.
        assert "guilty" in named or leak.suspects_cut, leak


def test_who_serves_when_lines_begin_to_be_followed_has_not_written_what_slices_had_left(tables):
    module, guard = tables
    whole_rounds(guard, 1)
    assert not guard.engine.finder.thorough
    for n in range(30):
        with guard.request("guilty"):
            vars(module)[f"T{n}"]["who"] = n
    until_found(guard, lambda: len(guard.leaks) >= 30)  # the first of them arms the finder
    not_by_the_innocent(guard)


@pytest.mark.parametrize("gait", ["strict", "brief", "sparse"])
def test_who_serves_when_slices_end_has_not_written_what_they_had_left(tables, gait):
    module, guard = tables
    guard.engine.finder.mode = "never"
    whole_rounds(guard, 1)
    for n in range(30):
        with guard.request("guilty"):
            vars(module)[f"T{n}"]["who"] = n
    guard.engine.pace.gait, guard.engine.pace.next_look = gait, 0
    guard.engine.pace.slicing = False
    serve(guard)
    until_found(guard, lambda: len(guard.leaks) >= 30)
    not_by_the_innocent(guard)


def test_who_was_being_served_when_slices_began_is_a_suspect(tables):
    module, guard = tables
    guard.engine.finder.mode = "never"
    whole_rounds(guard, 1)
    guard.engine.pace.slicing, guard.engine.pace.gait = False, "strict"
    with guard.request("guilty"):
        guard.engine.pace.slicing = True
        for n in range(30):
            vars(module)[f"T{n}"]["who"] = n
    until_found(guard, lambda: len(guard.leaks) >= 30)
    not_by_the_innocent(guard)


def test_who_was_served_in_slices_before_all_was_compared_is_no_suspect_of_later_ones(tables):
    module, guard = tables
    engine, pace = guard.engine, guard.engine.pace
    engine.finder.mode = "never"

    def in_slices(name, work=lambda: None):
        pace.slicing, pace._next_slice = True, sys.maxsize
        with guard.request(name):
            work()

    def all_at_once():
        pace.slicing = False
        with engine.turn.lock:
            engine.look()
            engine.look_deep()

    in_slices("innocent")
    all_at_once()
    all_at_once()
    in_slices("guilty", lambda: module.T0.update(who=1))
    all_at_once()
    [leak] = guard.leaks
    assert leak.confidence == "suspected"
    assert {one.path for one in leak.suspects} == {"guilty"}


def test_who_serves_when_slices_end_has_not_changed_a_logger_before(state):
    logger = logging.getLogger(MODULE)
    guard = Guard(watch=[MODULE], max_pause=0.00005, budget=0.5)
    pace = guard.engine.pace
    try:
        guard.start()
        pace._next_slice = sys.maxsize  # none comes to it
        with guard.request("guilty"):
            logger.propagate = False
        for _ in range(3):
            pace.gait, pace._next_deep = "strict", 0
            serve(guard)
        for _ in range(10):
            pace.slicing, pace.gait = False, "strict"
            serve(guard)
        [leak] = [leak for leak in guard.leaks if "propagate" in leak.path]
        assert "guilty" in {one.path for one in leak.suspects}
    finally:
        guard.close()
        logger.propagate = True
