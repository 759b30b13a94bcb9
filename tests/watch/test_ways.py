"""What is moved is known by where it lies now; what it is moved for costs no walk through everything."""

from __future__ import annotations

import sys
import types

import pytest

from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.moved_state"


class Job:
    def __init__(self):
        self.log = []
        self.tasks = []


class Task:
    def __init__(self, job):
        self.job = job
        self.notes = []


class Slotted:
    __slots__ = ("parts",)


Job.__module__ = Task.__module__ = Slotted.__module__ = MODULE


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    module.WAITING, module.DONE, module.ALL = {}, {}, []
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def watch():
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    return watcher


def job():
    made = Job()
    made.tasks += [Task(made) for _ in range(3)]
    return made


def paths(seen):
    return [one.path.removeprefix(f"{MODULE}.") for one in seen]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_was_moved_is_named_by_its_new_place(state, at_once):
    state.WAITING["a"] = moved = job()
    watcher = watch()
    state.DONE["a"] = moved
    if not at_once:
        watcher.check()
    del state.WAITING["a"]
    watcher.check()
    assert watcher.graph.ways.stands(moved)
    moved.log.append(1)
    moved.tasks[1].notes.append(2)
    assert sorted(paths(watcher.check())) == ["DONE['a'].log", "DONE['a'].tasks[1].notes"]


def test_what_was_in_both_places_from_the_beginning_is_found_in_the_other(state):
    state.WAITING["a"] = moved = job()
    state.ALL.append([moved])
    watcher = watch()
    del state.WAITING["a"]
    watcher.check()
    moved.tasks[2].notes.append(1)
    assert paths(watcher.check()) == ["ALL[0][0].tasks[2].notes"]


def test_what_hangs_from_a_moved_object_in_a_slot_is_found(state):
    state.WAITING["a"] = moved = Slotted()
    moved.parts = [[]]
    watcher = watch()
    state.WAITING.clear()
    state.DONE["b"] = (moved,)
    watcher.check()
    moved.parts[0].append(1)
    assert paths(watcher.check()) == ["DONE['b'][0].parts[0]"]


def test_what_only_its_own_parts_lead_to_is_nowhere(state):
    state.WAITING["a"] = moved = job()
    watcher = watch()
    state.WAITING["a"] = 0
    watcher.graph.release.run = lambda *rest: None  # it has not been let go of yet
    watcher.check()
    assert moved in watcher.graph
    assert not watcher.graph.ways.stands(moved)
    assert watcher.graph.ways.find(moved) is False
    assert watcher.paths.locate(moved) is None


def test_there_may_be_no_time_to_look_for_a_way(state):
    state.WAITING["a"] = moved = job()
    state.ALL.append(moved)
    watcher = watch()
    del state.WAITING["a"]
    watcher.check()
    assert watcher.graph.ways.find(moved, until=0) is None
    assert watcher.graph.ways.find(moved) is True
    assert watcher.graph.ways.find(job()) is False


def test_what_there_is_no_time_to_look_for_is_known_by_its_type(state):
    state.WAITING["a"] = moved = job()
    state.ALL.append(moved)
    watcher = watch()
    del state.WAITING["a"]
    watcher.check()
    watcher.graph.allowance = 0
    moved.log.append(1)
    assert paths(watcher.check()) == ["builtins.list(moved)"]
    state.WAITING["a"] = other = job()
    watcher.graph.allowance = None
    watcher.check()
    watcher.graph.allowance = 0
    del state.WAITING["a"]
    watcher.check()  # there was no time to find out whether anything leads to it
    other.log.append(1)
    watcher.check()
    assert paths(watcher.check()) == []


def test_classes_and_functions_stand_under_their_names(state):
    def outer():
        def inner():
            return None

        return inner

    class Store:
        items = []

        @staticmethod
        def made(found=[]):  # noqa: B006
            return found

    Store.__module__ = Store.made.__module__ = outer.__module__ = MODULE
    Store.__qualname__, Store.made.__qualname__, outer.__qualname__ = "Store", "Store.made", "outer"
    state.Store, state.outer, state.inner = Store, outer, outer()
    state.inner.__module__ = MODULE
    state.current = Store.items
    watcher = watch()
    stands = watcher.graph.ways.stands
    assert stands(Store.items)
    assert stands(Store.made.__defaults__[0])
    assert stands(outer)
    assert not stands(state.inner)  # it is not found under "outer.<locals>.inner"
    state.current = None
    watcher.check()
    Store.items.append(1)
    assert paths(watcher.check()) == ["Store.items"]


def test_a_class_that_is_not_in_its_module_any_more_does_not_stand(state):
    class Gone:
        items = []

    Gone.__module__, Gone.__qualname__ = MODULE, "Gone"
    state.Gone = Gone
    watcher = watch()
    assert watcher.graph.ways.stands(Gone.items)
    del state.Gone
    assert not watcher.graph.ways.stands(Gone.items)
    Gone.__module__ = "tests.watch.no_module"
    assert not watcher.graph.ways.stands(Gone.items)
