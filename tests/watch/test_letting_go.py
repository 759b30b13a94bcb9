"""What holds nothing but itself is searched for a bit at a time, and let go of in the end."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from time import perf_counter_ns

import pytest

from stateguard import Guard
from stateguard.watch import release
from stateguard.watch.cycles import LIMIT, Search
from stateguard.watch.release import TRIES
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.garbage_state"


class Node:
    def __init__(self, parent, depth):
        self.parent = parent
        self.children = [Node(self, depth - 1) for _ in range(5 if depth else 0)]


Node.__module__ = MODULE


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    module.TREE, module.OTHER = Node(None, 4), []
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def watch(allowance=None):
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    watcher.graph.allowance = allowance
    return watcher


def slices(watcher, limit=20_000):
    """Slices of hardly any time, until there is nothing left to do; how many they were."""
    for n in range(limit):
        if not (watcher.graph.walk or watcher.graph.release):
            return n
        watcher.check_slice(perf_counter_ns())
    raise AssertionError("it never ends")


@pytest.mark.parametrize("allowance", [None, 0])
def test_a_large_tree_that_holds_itself_is_let_go_of(state, allowance):
    watcher = watch(allowance)
    before = len(watcher.graph)
    gone = weakref.ref(state.TREE)
    state.TREE = Node(None, 4)
    watcher.check()
    assert (slices(watcher) > 20) == (allowance == 0)
    for _ in range(3):
        watcher.check()
        slices(watcher)
    watcher.check_slice(perf_counter_ns() + 10**9)
    assert gone() is None or gone() not in watcher.graph
    assert len(watcher.graph) == before


def test_what_is_held_from_outside_stays(state):
    state.OTHER.append(state.TREE.children[2].children[1])
    watcher = watch(0)
    kept, before = state.OTHER[0], len(watcher.graph)
    state.TREE = None
    watcher.check()
    slices(watcher)
    assert kept in watcher.graph
    assert kept.parent in watcher.graph
    assert len(watcher.graph) == before  # its parent leads to all of them
    kept.parent = None
    for _ in range(3):
        watcher.check()
        slices(watcher)
    assert kept in watcher.graph
    assert len(watcher.graph) < before / 10


def test_a_search_is_begun_anew_when_something_has_changed(state):
    watcher = watch(0)
    tree, state.TREE = state.TREE, None
    state.OTHER.append(tree.children[0])
    watcher.check()
    found = False
    for n in range(2_000):
        watcher.check_slice(perf_counter_ns())
        if watcher.graph.release._search is not None and n % 7 == 0:
            found = True
            tree.children[0].children.append(Node(tree, 0))
            watcher.check()
    assert found
    state.OTHER.clear()
    for _ in range(TRIES + 2):
        watcher.check()
        slices(watcher)
    assert tree in watcher.graph or len(watcher.graph) < 20


def test_what_leads_to_too_much_counts_as_alive(state):
    state.MANY = [[n] for n in range(LIMIT + 1_000)]
    watcher = watch()
    search = Search(watcher.graph, state.MANY)
    assert search.go_on(None)
    assert search.garbage == []


def test_a_graph_goes_at_once_with_a_search_that_is_over(state):
    watcher = watch(0)
    state.TREE = None
    watcher.check()
    slices(watcher)
    graph = weakref.ref(watcher.graph)
    watcher.stop()
    assert graph() is None


def test_what_refers_to_state_that_is_written_to_all_the_time_is_let_go_of(state):
    state.HUB = {f"n{i}": [i] for i in range(50)}
    state.RINGS = {}
    watcher = watch(0)
    gone = []
    for n in range(20):
        ring = [Node(None, 0) for _ in range(10)]
        for one, other in zip(ring, ring[1:] + ring[:1], strict=True):
            one.parent, one.hub = other, state.HUB
        gone.append(weakref.ref(ring[0]))
        state.RINGS[n] = ring[0]
        watcher.check()
        watcher.check()
        del state.RINGS[n], ring, one, other
        state.HUB[f"n{n}"].append(n)
        watcher.check()
    for _ in range(40):
        watcher.check()
        slices(watcher)
    watcher.check_slice(perf_counter_ns() + 10**9)
    gc.collect()
    assert [one() for one in gone if one() is not None] == []


def test_a_search_goes_on_where_nothing_changes(state):
    guard = Guard(watch=[MODULE], process=False)
    try:
        guard.start()
        before = guard.stats.nodes
        with guard.request("reload"):
            state.TREE = None
        for n in range(3_000):
            if guard.stats.nodes < before / 10:
                break
            with guard.request(f"idle {n}"):
                pass
        assert guard.stats.nodes < before / 10
    finally:
        guard.close()


def test_a_wide_node_is_let_go_of_step_by_step(state):
    state.OTHER.append([[n] for n in range(5_000)])
    watcher = watch(0)
    wide = weakref.ref(kept := Node(None, 0))
    state.OTHER[0].append(kept)
    watcher.check()
    slices(watcher)
    del kept
    state.OTHER.clear()
    watcher.check()
    assert slices(watcher) > 50
    watcher.check_slice(perf_counter_ns() + 10**9)
    assert wide() is None


def test_what_is_held_again_while_it_is_being_let_go_of_is_watched(state):
    watcher = watch(0)
    tree, state.TREE = state.TREE, None
    watcher.check()
    while not watcher.graph.release._condemned:
        watcher.check_slice(perf_counter_ns())
    for _ in range(200):
        watcher.check_slice(perf_counter_ns())
    assert watcher.graph.release._condemned
    before = dict(watcher.graph.release._condemned)
    kept = next(node for node in before.values() if type(node) is Node and node.children)
    state.OTHER.append(kept)
    watcher.check()
    for _ in range(3):
        watcher.check()
        slices(watcher)
    fresh = watch()
    assert len(watcher.graph) == len(fresh.graph)
    for node in (kept, tree, tree.children[3].children[2].children[1]):
        assert node in watcher.graph
        assert watcher.graph.is_shared(node) == fresh.graph.is_shared(node)
    tree.children[4].children.append("x")
    watcher.graph.allowance = None
    assert [seen.change.kind for seen in watcher.check()] == ["appended"]


def test_what_is_written_to_all_the_time_is_searched_from_again_later(state, monkeypatch):
    monkeypatch.setattr(release, "PATIENCE", 0)
    watcher = watch(0)
    tree, state.TREE = state.TREE, None
    watcher.check()
    for n in range(3_000):
        watcher.check_slice(perf_counter_ns())
        if n % 5 == 0:
            tree.children[n % 3].mark = n  # by whoever has got it
            watcher.check()
        if watcher.graph.release._given_up:
            break
    assert watcher.graph.release._given_up
    for _ in range(100):
        watcher.check()
        slices(watcher)
    assert tree not in watcher.graph
    gone = weakref.ref(tree)
    del tree
    watcher.check_slice(perf_counter_ns() + 10**9)
    watcher.check()
    gc.collect()
    assert gone() is None


def test_what_comes_and_goes_all_the_time_does_not_pile_up(state):
    guard = Guard(watch=[MODULE], process=False, budget=0.5)
    try:
        guard.start()
        most = 0
        for n in range(150):
            with guard.request(f"request {n}"):
                state.OTHER[:] = [[[i] for i in range(300)]]
            most = max(most, guard.stats.nodes)
        assert most < 20_000
    finally:
        guard.close()
