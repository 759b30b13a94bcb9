"""What a node refers to and what it holds are read one after the other: another thread may come in between.

Here it comes exactly then. A profile function is called where the looking thread calls a function of the
guard's, and does what the other thread would do if it got its turn at that point.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import OrderedDict, deque
from contextlib import contextmanager

import pytest

from stateguard.watch import content
from stateguard.watch.graph import Graph
from stateguard.watch.walk import Walk
from stateguard.watch.watcher import Watcher
from tests.watch.test_graph_consistency import MODULE, Mixed, Plain, Slotted, compare


@contextmanager
def turn(function, act, *nodes, times=1, after=None):
    """``act`` is another thread's turn, taken ``times`` times at most: when ``function`` is called with one
    of these nodes, or when it has called ``after``."""
    left = times

    def called(frame, event, arg):
        nonlocal left
        if left and frame.f_code is function.__code__ and event == ("call" if after is None else "c_return"):
            mine = set(map(id, frame.f_locals.values()))
            if arg is after and (not nodes or any(id(node) in mine for node in nodes)):
                left -= 1
                act()

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(before)
    assert left < times, "nobody got a turn"


def nodes_of(obj):
    return (obj, obj.__dict__) if hasattr(obj, "__dict__") else (obj,)


def only(obj, value):
    obj.clear()
    obj.add(value)


def put(obj, value):
    obj[1] = value


def entries(obj, value):
    obj.update(dict.fromkeys(range(100), value))


CASES = {
    "dictionary": ({1: "a"}, put),
    "many entries": (dict.fromkeys(range(100), "a"), entries),
    "names": ({"name": "a"}, lambda obj, value: obj.update(name=value)),
    "ordered": (OrderedDict({1: "a"}), put),
    "list": (["a", "a"], put),
    "deque": (deque(["a", "a"]), put),
    "set": ({"a"}, only),
    "slot": (Slotted(), lambda obj, value: setattr(obj, "left", value)),
    "attribute": (Plain(), lambda obj, value: setattr(obj, "left", value)),
    "attribute beside slots": (Mixed(), lambda obj, value: setattr(obj, "other", value)),
    "all attributes": (Plain(), lambda obj, value: setattr(obj, "__dict__", {"left": value})),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request):
    obj, write = request.param
    write(obj, "a")
    module = types.ModuleType(MODULE)
    module.state = obj
    sys.modules[MODULE] = module
    yield obj, lambda value: write(obj, value)
    del sys.modules[MODULE]


def started():
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    return watcher


def test_a_turn_while_a_change_is_read(case):
    obj, write = case
    watcher = started()
    write("b")
    with turn(content.read_with, lambda: write("c"), *nodes_of(obj)):
        assert watcher.check()
    write("b")
    watcher.check()
    compare(watcher, 0, "as it was when what it refers to was read")
    write("d")
    assert watcher.check()
    compare(watcher, 0, "last")


def test_a_turn_while_the_baseline_is_read(case):
    obj, write = case
    with turn(Walk.meet, lambda: write("c"), obj, after=gc.get_referents):
        watcher = started()
    write("a")
    watcher.check()
    compare(watcher, 0, "last")


def test_a_turn_before_the_attributes_of_an_instance_are_read():
    module = types.ModuleType(MODULE)
    thing = module.thing = Plain()
    thing.left = "a"
    sys.modules[MODULE] = module
    try:
        watcher = Watcher([MODULE], process=False)
        with turn(Walk.meet, lambda: setattr(thing, "left", "c"), vars(thing)):
            watcher.start()
        thing.left = "a"
        watcher.check()
        compare(watcher, 0, "after the baseline")
        thing.left = "b"
        own = turn(Graph._absorb_own, lambda: setattr(thing, "left", "c"))
        if content.ATTRIBUTES_INSIDE:
            with own:
                assert watcher.check()
        else:
            assert watcher.check()
        thing.left = "b"
        watcher.check()
        compare(watcher, 0, "after a change")
    finally:
        del sys.modules[MODULE]


@pytest.mark.parametrize("case", [CASES["slot"], CASES["deque"], CASES["ordered"]], indirect=True)
def test_what_does_not_settle_is_read_at_the_next_look(case):
    obj, write = case
    watcher = started()
    write("b")
    values = iter("abcdefghijkl")
    # With every reading another turn, and more of them than it is tried.
    with turn(content.read, lambda: write(next(values)), obj, times=content.RETRIES + 1):
        assert not watcher.check()
    assert watcher.check()
    compare(watcher, 0, "last")
