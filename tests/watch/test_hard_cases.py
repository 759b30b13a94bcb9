"""Mutations and objects that a comparison of flat lists, or a description of them, could trip over."""

from __future__ import annotations

import sys
import types

import numpy
import pytest

from stateguard import Guard
from stateguard.watch import graph
from stateguard.watch.content import Unsettled
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.hard_state"


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def leaks_of(state, act, **options):
    guard = Guard(watch=[MODULE], process=False, locate="never", budget=1.0, **options)
    try:
        guard.start()
        with guard.request("writes"):
            act()
        with guard.request("does nothing"):
            pass
        assert not guard.engine.failures
        return [(leak.path.removeprefix(f"{MODULE}."), leak.kind) for leak in guard.leaks], guard.leaks
    finally:
        guard.close()


def test_an_element_moves_from_the_end_of_one_list_to_its_empty_neighbour(state):
    state.free, state.busy = ["connection"], []
    found, _ = leaks_of(state, lambda: state.busy.append(state.free.pop()))
    assert found == [("free", "cleared"), ("busy", "appended")]


def test_an_element_moves_to_the_beginning_of_the_next_list(state):
    state.first, state.second = ["a", "b"], ["c"]
    found, _ = leaks_of(state, lambda: state.second.insert(0, state.first.pop()))
    assert found == [("first", "removed"), ("second", "inserted")]


def test_an_entry_moves_between_neighbouring_dicts_with_numbers_for_keys(state):
    state.offline, state.online = {}, {7: "x"}
    found, _ = leaks_of(state, lambda: state.offline.update({7: state.online.pop(7)}))
    assert found == [("offline[7]", "added"), ("online", "cleared")]


def test_a_value_moves_between_neighbouring_cells(state):
    def make():
        first, second = ["x"], None
        del second

        def move():
            nonlocal first, second
            second = first
            del first

        move.__module__ = MODULE
        return move

    state.move = make()
    found, _ = leaks_of(state, state.move)
    assert found


def test_a_node_that_only_its_own_parts_seem_to_lead_to_is_located(state):
    a, b = [], []
    state.x, state.y, state.z = [a], [b], []
    a.append(b)
    b.append(a)
    guard = Guard(watch=[MODULE], process=False, locate="never", budget=1.0)
    guard.start()
    for step in (lambda: state.z.append(b), state.y.clear, state.x.clear, lambda: a.append("written")):
        with guard.request("moves"):
            step()
    guard.close()
    assert [(leak.path, leak.kind) for leak in guard.leaks[-1:]] == [(f"{MODULE}.z[0][0]", "appended")]


def nested(depth):
    made = ()
    for _ in range(depth):
        made = (made,)
    return made


def test_deeply_nested_keys(state):
    state.table = {}
    found, _ = leaks_of(state, lambda: state.table.update({nested(700): 1}))
    assert len(found) == 1


def test_a_function_whose_module_is_not_text(state):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("application code ran")

        __str__ = __format__ = __eq__ = __repr__
        __hash__ = None

    def function():
        pass

    function.__module__ = Hostile()
    state.items = []
    found, _ = leaks_of(state, lambda: state.items.append(function))
    assert found == [("items", "appended")]


@pytest.mark.parametrize("show", [False, True])
def test_enormous_numbers(state, show):
    state.number, state.items = 1, []

    def act():
        state.number = 10**20_000
        state.items.append(10**20_000)

    found, _ = leaks_of(state, act, show_values=show)
    assert len(found) == 2


def test_an_attribute_name_that_is_no_name_is_not_written_as_one(state):
    state.thing = types.SimpleNamespace()
    secret = "jane@example.com\x1b[31m"
    found, leaks = leaks_of(state, lambda: vars(state.thing).update({secret: 1}))
    assert len(found) == 1
    assert "jane" not in str(leaks[0].to_dict())


def test_an_array_in_a_table_that_has_changed_before_may_be_resized(state):
    # Which numpy refuses where somebody else refers to it.
    state.table, state.later = {"array": numpy.zeros(4), "n": 0}, {"n": 0}
    guard = Guard(watch=[MODULE], process=False, locate="never", budget=1.0)
    guard.start()
    try:
        for n in (1, 2, 3):
            with guard.request("writes"):
                state.table["n"] = state.later["n"] = f"value {n}"
                if n == 2:
                    state.later["array"] = numpy.zeros(4)
        with guard.request("resizes"):
            state.table["array"].resize(8)
            state.later["array"].resize(8)
        assert [leak.path for leak in guard.leaks[-2:]] == [
            f"{MODULE}.table['array']",
            f"{MODULE}.later['array']",
        ]
    finally:
        guard.close()


def test_an_object_of_another_class_is_told_of_once_it_has_settled(state, monkeypatch):
    class Before:
        __module__ = MODULE

    class After:
        __module__ = MODULE

    def unsettled(*args):
        raise Unsettled

    state.thing = thing = Before()
    thing.name = "a"
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    thing.__class__ = After
    with monkeypatch.context() as disturbed:
        disturbed.setattr(graph, "read_with", unsettled)
        assert watcher.check() == []
    assert [one.path for one in watcher.check()] == [f"{MODULE}.thing.__class__"]


def test_an_object_of_another_class_is_still_looked_at(state):
    class Before:
        __module__ = MODULE

    class After:
        __module__ = MODULE

    state.thing = thing = Before()
    thing.name, thing.items = "a", [1]
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    thing.__class__ = After
    (seen,) = watcher.check()
    assert seen.path.endswith(".thing.__class__")
    thing.name = "b"
    assert [one.path for one in watcher.check()] == [f"{MODULE}.thing.name"]
    thing.items.append(2)
    assert [one.path for one in watcher.check()] == [f"{MODULE}.thing.items"]
    assert watcher.check() == []
