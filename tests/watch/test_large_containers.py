"""Containers of many entries: what differs is found and told by its few entries, not by all of them."""

from __future__ import annotations

import gc
import sys
import threading
import time
import types
import weakref
from collections import OrderedDict, defaultdict

import pytest

from stateguard.watch.block import CAPACITY, Block
from stateguard.watch.compare import COMPILED
from stateguard.watch.content import Content, differing, read, referents
from stateguard.watch.graph import HOT
from stateguard.watch.keys import keys_of, padded
from stateguard.watch.kinds import TypeTable
from stateguard.watch.large import PART, Large
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.large_containers"
N = 10_000


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def watch():
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    assert watcher.check() == []
    return watcher


def told(watcher):
    return [(seen.path, seen.change.kind) for seen in watcher.check()]


class Odd:
    """Its equality and hash must never be asked for."""

    def __eq__(self, other):
        raise AssertionError("application code")

    __hash__ = object.__hash__


class Kept(list):
    pass


@pytest.mark.parametrize("make", [dict, OrderedDict, lambda pairs: defaultdict(list, pairs)])
@pytest.mark.parametrize("key", [str, int, lambda i: (i, "k")])
def test_what_changes_in_a_large_mapping_is_told_by_its_entries(state, make, key):
    state.table = table = make((key(i), Odd()) for i in range(N))
    watcher = watch()
    table[key(N)] = Odd()
    [(path, kind)] = told(watcher)
    assert kind == "added"
    assert path.startswith(f"{MODULE}.table[")
    table[key(5)] = "replaced"
    assert [kind for _, kind in told(watcher)] == ["replaced"]
    del table[key(0)]
    assert [kind for _, kind in told(watcher)] == ["removed"]
    table[key(N + 1)] = table.pop(key(N // 2))
    assert sorted(kind for _, kind in told(watcher)) == ["added", "removed"]
    table[key(1)] = table.pop(key(1))
    assert [kind for _, kind in told(watcher)] == ["reordered"]
    table.clear()
    assert [kind for _, kind in told(watcher)] == ["cleared"]
    assert told(watcher) == []


def test_many_entries_at_once_are_summed_up_and_all_are_watched(state):
    state.table = table = {f"k{i}": "x" for i in range(N)}
    watcher = watch()
    new = {f"n{i}": [] for i in range(100)}
    table.update(new)
    [seen] = watcher.check()
    assert (seen.change.kind, len(seen.change.came), seen.change.went) == ("added", 100, [])
    new["n99"].append("written")
    [seen] = watcher.check()
    assert seen.path == f"{MODULE}.table['n99']"
    for key in new:
        del table[key]
    [seen] = watcher.check()
    assert (seen.change.kind, len(seen.change.went)) == ("removed", 100)
    assert new["n99"] not in watcher.graph


def test_large_lists_and_sets(state):
    state.items, state.names = items, names = [Odd() for _ in range(N)], {f"n{i}" for i in range(N)}
    watcher = watch()
    items.append([])
    names.add("one more")
    assert told(watcher) == [(f"{MODULE}.items", "appended"), (f"{MODULE}.names", "added")]
    items[-1].append("written")
    assert told(watcher) == [(f"{MODULE}.items[{N}]", "appended")]
    items.pop(0)
    names.discard("n7")
    assert told(watcher) == [(f"{MODULE}.items", "removed"), (f"{MODULE}.names", "removed")]
    items[3], items[4] = items[4], items[3]
    assert told(watcher) == [(f"{MODULE}.items", "reordered")]
    assert told(watcher) == []


def test_a_cached_dictionary_is_watched_however_many_results_come_at_once(state):
    from functools import lru_cache

    @lru_cache(None)
    def settings(n):
        return {"n": n}

    state.settings = settings
    watcher = watch()
    made = [settings(n) for n in range(12)]
    watcher.check()
    for n, result in enumerate(made):
        result["n"] = "written"
        assert [kind for _, kind in told(watcher)] == ["replaced"], n


def test_what_both_begin_and_end_with_is_left_out():
    keys = [f"k{i}" for i in range(10)]
    before = Content(list(range(1000, 1010)), keys)
    after = Content([*before.values[:4], "new", *before.values[5:]], list(keys))
    old, new = differing(before, after)
    assert (old.values, old.keys, new.values, new.keys) == ([1004], ["k4"], ["new"], ["k4"])
    renamed = Content(before.values, [*keys[:9], "other"])
    old, new = differing(before, renamed)
    assert (old.values, old.keys, new.keys) == ([1009], ["k9"], ["other"])
    assert differing(before, Content(before.values, None))[0] is before


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33, 512, CAPACITY, CAPACITY + 5])
def test_keys_of_many_dictionaries(n):
    dicts = tuple({f"{i}.{j}": j for j in range(i % 4)} for i in range(n))
    assert keys_of(padded(dicts)) == [key for one in dicts for key in one]


def test_large_dictionaries_are_read_without_pairs_and_the_same():
    table = TypeTable(lambda _: False, {})
    for made in ({f"k{i}": i for i in range(200)}, {i: str(i) for i in range(200)}, defaultdict(int, a=1)):
        made.update({f"m{i}": Odd() for i in range(100)})
        content = read(table.info(type(made)), made, referents(made))
        assert all(map(lambda a, b: a is b, content.keys, made))
        assert all(map(lambda a, b: a is b, content.values, made.values()))


def block_of(*nodes):
    table = TypeTable(lambda _: False, {})
    block = Block()
    for node in nodes:
        info, refs = table.info(type(node)), referents(node)
        block.add(node, info, None, refs, read(info, node, refs))
    assert block.clean()
    return block


def places(block):
    assert not block.clean()
    return [i for i, _ in block.changed()]


def test_only_those_that_differ_are_named_wherever_they_lie():
    same = object()
    nodes = [{"a": same}, {"b": same, "c": same}, [same], [], {}, {"d": same}, [same, same]]
    block = block_of(*nodes)
    changes = [
        (0, lambda: nodes[0].pop("a"), lambda: nodes[0].update(a=same)),
        (1, lambda: nodes[1].pop("c"), lambda: nodes[1].update(c=same)),
        (1, lambda: nodes[1].update(z=nodes[1].pop("c")), lambda: nodes[1].update(c=nodes[1].pop("z"))),
        (2, lambda: nodes[2].append(same), lambda: nodes[2].pop()),
        (3, lambda: nodes[3].append(same), lambda: nodes[3].pop()),
        (4, lambda: nodes[4].update(x=same), lambda: nodes[4].clear()),
        (5, lambda: nodes[5].update(e=same), lambda: nodes[5].pop("e")),
        (6, lambda: nodes[6].pop(), lambda: nodes[6].append(same)),
    ]
    for at, write, undo in changes:
        write()
        assert places(block) == [at]
        undo()
        assert block.clean()
    for at, write, undo in changes:
        for other, also, back in changes:
            if other != at:
                write()
                also()
                assert sorted(places(block)) == sorted({at, other})
                back()
                undo()
                assert block.clean()


# -- looked at by the end -----------------------------------------------------------------------------

HUGE = HOT + 5_000


def round_of(watcher):
    """All that is found in slices until everything has had its turn."""
    found, rotation = [], watcher.graph.rotation
    until = rotation.rounds + 2
    while rotation.rounds < until:
        found += watcher.check_slice(time.perf_counter_ns() + 10**6)
    return [(seen.path, seen.change.kind) for seen in found]


def settle(watcher):
    """Walk what has come, let go of what has gone."""
    while watcher.graph.unsettled:
        watcher.check_slice(time.perf_counter_ns() + 10**7)


def watch_by_the_end():
    watcher = watch()
    watcher.graph.allowance = 10**10  # as where looks have a limit, which is far
    return watcher


def large_block(watcher, node):
    block = watcher.graph._index.get(id(node))
    assert type(block) is Large
    return block


def hot(watcher, node):
    return large_block(watcher, node) in watcher.graph.hot


GROWN = {
    "list": (lambda: [Odd() for _ in range(HUGE)], lambda grown, i: grown.append([i])),
    "dict": (
        lambda: {f"k{i}": Odd() for i in range(HUGE)},
        lambda grown, i: grown.__setitem__(f"new{i}", [i]),
    ),
}


def watch_grown(state, kind):
    """A container of that kind, what adds to it, and who watches it by its end."""
    make, add = GROWN[kind]
    state.grown = make()
    return state.grown, add, watch_by_the_end()


TOLD = {"list": "appended", "dict": "added"}
"""What is told of them."""


@pytest.mark.parametrize("kind", GROWN)
def test_what_comes_to_the_end_is_found_at_a_glance(state, kind):
    grown, add, watcher = watch_grown(state, kind)
    add(grown, 0)
    [(_, told_kind)] = round_of(watcher)
    assert told_kind == TOLD[kind]
    assert hot(watcher, grown)
    for i in range(1, 30):
        add(grown, i)
        [seen] = watcher.check_hot()
        assert seen.change.kind == told_kind
        assert seen.change.after_hash
        assert seen.change.came[0] is (grown[-1] if kind == "list" else grown[f"new{i}"])
        assert not seen.fresh
    assert watcher.check_hot() == []
    assert round_of(watcher) == []
    assert told(watcher) == []  # the full comparison agrees
    last = grown[-1] if kind == "list" else grown["new29"]
    last.append("what came is watched as well")
    assert len(told(watcher)) == 1


@pytest.mark.parametrize("kind", GROWN)
def test_a_full_look_does_not_read_all_of_it_again(state, kind):
    grown, add, watcher = watch_grown(state, kind)
    block = large_block(watcher, grown)
    read = block.refs
    for i in range(3):
        add(grown, i)
        [seen] = watcher.check()
        assert (seen.change.kind, seen.fresh) == (TOLD[kind], not i)
        assert large_block(watcher, grown) is block
        assert block.refs is read
        assert hot(watcher, grown)
    add(grown, 3)
    first = 0 if kind == "list" else "k0"
    grown[first] = "other"
    assert [seen.change.kind for seen in watcher.check()] == [TOLD[kind], "replaced"]
    assert watcher.check() == []


@pytest.mark.parametrize("kind", GROWN)
def test_what_has_grown_and_changed_elsewhere_at_once_is_new_both_times(state, kind):
    grown, add, watcher = watch_grown(state, kind)
    add(grown, 0)
    grown[7 if kind == "list" else "k7"] = "other"
    assert [seen.fresh for seen in watcher.check()] == [True, True]  # before the look, for all that is known
    assert hot(watcher, grown)
    assert watcher.check() == watcher.check_hot() == []
    add(grown, 1)
    [seen] = watcher.check_hot()
    assert not seen.fresh
    assert round_of(watcher) == []


@pytest.mark.parametrize("kind", GROWN)
def test_growth_is_told_as_a_full_look_tells_it(state, kind):
    grown, add, watcher = watch_grown(state, kind)
    add(grown, 0)
    round_of(watcher)
    other = watch()
    add(grown, 1)
    [glanced] = watcher.check_hot()
    [seen] = other.check()
    assert glanced.path == seen.path
    ours, theirs = glanced.change, seen.change
    assert (ours.kind, ours.suffix, ours.before, ours.after) == (
        theirs.kind,
        theirs.suffix,
        theirs.before,
        theirs.after,
    )
    assert (ours.before_hash, ours.after_hash) == (theirs.before_hash, theirs.after_hash)


ELSEWHERE = {
    "list": [
        lambda grown: grown.__setitem__(7, "other"),
        lambda grown: grown.insert(0, "first"),
        lambda grown: grown.pop(),
        lambda grown: grown.pop(11),
        lambda grown: grown.reverse(),
        lambda grown: grown.__setitem__(-1, "other"),
        lambda grown: grown.__setitem__(slice(100, HUGE - 100), []),
        lambda grown: grown.extend(range(HUGE, HUGE + 70_000)),
        lambda grown: grown.clear(),
        lambda grown: grown.append("into what was cleared"),
    ],
    "dict": [
        lambda grown: grown.__setitem__("k7", "other"),
        lambda grown: grown.popitem(),
        lambda grown: grown.pop("k11"),
        lambda grown: grown.__setitem__("renamed", grown.popitem()[1]),
        lambda grown: grown.__setitem__("k5", grown.pop("k5")),
        lambda grown: grown.update({f"more{i}": i for i in range(70_000)}),
        lambda grown: grown.__setitem__(7, "no string: keys are references from now on"),
        lambda grown: grown.__setitem__(8, "another"),
        lambda grown: grown.clear(),
        lambda grown: grown.__setitem__("into", "what was cleared"),
    ],
}


@pytest.mark.parametrize("kind", GROWN)
@pytest.mark.parametrize("full", [False, True])
def test_what_happens_elsewhere_is_found_in_the_round_at_the_latest(state, kind, full):
    grown, add, watcher = watch_grown(state, kind)
    add(grown, 0)
    assert round_of(watcher)
    for n, write in enumerate(ELSEWHERE[kind]):
        write(grown)
        found = told(watcher) if full else [*watcher.check_hot(), *round_of(watcher)]
        assert found, n
        assert watcher.check_hot() == []
        assert told(watcher) == [], n
        info, content = watcher.graph.content(grown)
        assert list(map(id, content.values)) == list(map(id, grown if kind == "list" else grown.values()))


@pytest.mark.parametrize("kind", GROWN)
def test_a_slice_compares_a_part_and_the_next_one_goes_on_behind_it(state, kind):
    grown, add, watcher = watch_grown(state, kind)
    block = large_block(watcher, grown)
    parts = 0
    while block.go_on(0) is None:
        parts += 1
    assert parts == (HUGE - 1) // PART
    assert block.go_on(0) is None
    add(grown, 0)
    assert block.go_on(0) is False  # it is longer now: what has come is taken in first
    assert [seen.change.kind for seen in watcher.check_hot()] == []
    assert [told_kind for _, told_kind in round_of(watcher)] == [TOLD[kind]]
    while block.go_on(0) is None:
        pass
    grown[HUGE - 9 if kind == "list" else f"k{HUGE - 9}"] = "other"
    while (said := block.go_on(0)) is None:
        pass
    assert said is False
    assert [told_kind for _, told_kind in round_of(watcher)] == ["replaced"]


@pytest.mark.parametrize("kind", GROWN)
def test_the_garbage_collector_visits_what_is_kept_only_where_that_is_of_use(state, kind):
    state.grown = grown = [f"v{i}" for i in range(HUGE)]
    if kind == "dict":
        state.grown = grown = {f"k{i}": i for i in range(HUGE)}
    watcher = watch_by_the_end()

    def visited():
        block = large_block(watcher, grown)
        return gc.is_tracked(block.refs), kind == "dict" and gc.is_tracked(block._keys)

    never = not COMPILED, kind == "dict" and not COMPILED
    assert visited() == never
    GROWN[kind][1](grown, 0)  # a list has come
    assert len(told(watcher)) == 1
    assert visited() == (True, never[1])
    grown.clear()
    assert len(told(watcher)) == 1


def test_growth_and_a_change_in_the_middle_at_once(state):
    state.grown = grown = GROWN["list"][0]()
    watcher = watch_by_the_end()
    grown.append("a")
    round_of(watcher)
    grown[3] = "middle"
    grown.append("end")
    assert [seen.change.kind for seen in watcher.check_hot()] == ["appended"]
    assert [kind for _, kind in round_of(watcher)] == ["replaced"]


def test_without_a_limit_every_look_compares_all_of_it(state):
    state.grown = grown = GROWN["list"][0]()
    watcher = watch()
    grown.append("a")
    assert len(told(watcher)) == 1
    grown[3] = "middle"
    [seen] = watcher.check_hot()
    assert seen.path == f"{MODULE}.grown[3]"


def test_other_huge_containers_are_not_looked_at_all_the_time(state):
    state.names, state.small = names, small = {f"n{i}" for i in range(HUGE)}, []
    watcher = watch_by_the_end()
    small.append(1)
    names.add("new")
    assert len(told(watcher)) == 2
    sizes = [len(block.refs) for block in watcher.graph.hot]
    assert max(sizes) < HOT
    names.add("newer")
    assert [kind for _, kind in round_of(watcher)] == ["added"]


def test_a_container_that_is_dropped_is_let_go_of(state):
    state.grown = [[] for _ in range(HUGE)]
    watcher = watch_by_the_end()
    state.grown.append([])
    round_of(watcher)
    gone = weakref.ref(kept := Kept())
    state.grown.append(kept)
    del kept
    round_of(watcher)
    state.grown = None
    told(watcher)
    settle(watcher)
    watcher.check()
    assert gone() is None
    assert len(watcher.graph) < 10


def test_a_list_that_other_threads_grow_and_shrink(state):
    state.grown = grown = [[] for _ in range(HUGE)]
    watcher = watch_by_the_end()
    grown.append([])
    round_of(watcher)
    stop = threading.Event()

    def churn():
        # At an end: on a free-threaded build it does not wait while others look.
        while not stop.is_set() and len(grown) < 4 * HUGE:
            grown.append([])
            grown.append([])
            grown.pop()
            grown[17] = []

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(10):
            watcher.check_hot()
            watcher.check_slice(time.perf_counter_ns() + 10**6)
    finally:
        stop.set()
        thread.join()
    while round_of(watcher) or watcher.graph.unsettled:
        settle(watcher)
    assert told(watcher) == []
    anew = Watcher([MODULE], process=False)
    anew.start()
    assert set(watcher.graph._index) == set(anew.graph._index)
