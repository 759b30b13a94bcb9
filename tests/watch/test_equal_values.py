"""What is replaced by something equal has not changed; what differs anywhere has."""

from __future__ import annotations

import sys
import types
import weakref
from collections import OrderedDict, deque

import pytest

from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.equal_state"


class Made:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Held:
    pass


Made.__module__ = MODULE


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def told(watcher):
    return [(seen.path.removeprefix(f"{MODULE}."), seen.change.kind) for seen in watcher.check()]


REFRESHED = {
    "rows": lambda: {f"k{i}": [{"number": i, "share": i / 3} for _ in range(10)] for i in range(200)},
    "texts": lambda: {f"k{i}": "".join(["text ", str(i)]) for i in range(3_000)},
    "pairs": lambda: [(i + 10**6, str(i)) for i in range(900)],
    "objects": lambda: Made(parts=deque([Made(a=1.5, b=None)]), names={"x", "y"}, other=OrderedDict(a=[1])),
    "mixed keys": lambda: {("a", 1): [b"x"], 7: {"y": (True, [3.5])}, "z": [[]]},
}


@pytest.mark.parametrize("name", REFRESHED)
def test_what_is_refreshed_with_equal_values_is_not_told(state, name):
    make = REFRESHED[name]
    state.HELD = make()
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD = make()
    assert told(watcher) == []
    fresh = make()
    if isinstance(fresh, dict):
        state.HELD.update(fresh)
    elif isinstance(fresh, list):
        state.HELD[:] = fresh
    else:
        state.HELD.__dict__.update(fresh.__dict__)
    assert told(watcher) == []


OTHERS = [
    (lambda: [1, 2, [3]], lambda: [1, 2, [4]]),
    (lambda: {"a": {"b": [1.0]}}, lambda: {"a": {"b": [-1.0]}}),
    (lambda: [{"a": 1}], lambda: [{"a": True}]),
    (lambda: [{"a": 1}], lambda: [{"b": 1}]),
    (lambda: Made(a=[1]), lambda: Made(a=[1], b=2)),
    (lambda: [("x", [0.0])], lambda: [("x", [-0.0])]),
    (lambda: [Held()], lambda: [Held()]),
    (lambda: [(1, [2], 3)], lambda: [(1, [2])]),
]


@pytest.mark.parametrize(("before", "after"), OTHERS)
def test_what_differs_anywhere_is_told(state, before, after):
    state.HELD = {"x": [before()]}
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD["x"] = [after()]
    assert told(watcher) == [("HELD['x']", "replaced")]


def test_what_leads_back_to_itself_is_compared(state):
    def ring(value):
        one = {"value": [value]}
        one["self"] = one
        return one

    state.HELD = [ring(1)]
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD[0] = ring(1)
    assert told(watcher) == []
    state.HELD[0] = ring(2)
    assert told(watcher) == [("HELD[0]", "replaced")]


@pytest.mark.parametrize("make", [dict, OrderedDict])
def test_keys_that_are_replaced_by_equal_ones_where_they_are_have_not_moved(state, make):
    state.HELD = make((f"key {i}", i) for i in range(100))
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    entries = [
        ("".join(["key ", str(i)]) if i in (3, 50, 99) else key, v)
        for i, (key, v) in enumerate(state.HELD.items())
    ]
    state.HELD.clear()
    state.HELD.update(entries)
    assert told(watcher) == []
    state.HELD["".join(["key ", "3"])] = state.HELD.pop("key 3")
    assert told(watcher) == [("HELD", "reordered")]


def test_what_dies_in_a_weak_mapping_is_nobodys_doing(state):
    kept = [Held() for _ in range(3_000)]
    state.HELD = weakref.WeakValueDictionary(enumerate(kept))
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    del kept[1_000:]
    assert told(watcher) == []


def test_a_set_whose_large_element_differs_far_inside_is_told(state):
    state.HELD = {tuple((i, i) for i in range(250))}
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD.clear()
    state.HELD.add(tuple((i, i + (i == 240)) for i in range(250)))
    assert told(watcher) == [("HELD", "replaced")]
