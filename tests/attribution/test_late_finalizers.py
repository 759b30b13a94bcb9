"""What a request has dropped may be finalized in the middle of another one, when the guard lets go of it."""

from __future__ import annotations

import sys
import time
import types
import weakref
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from stateguard import Guard, Leak
from stateguard.attribution.ledger import Ledger
from stateguard.drops import Drops, Who
from stateguard.turn import Turn
from stateguard.watch.block import Block
from stateguard.watch.farewell import Farewell
from stateguard.watch.finalizing import may_run_code, runs_code
from stateguard.watch.index import Index
from stateguard.watch.kinds import TypeTable
from stateguard.watch.watcher import Watcher

MODULE = "tests.attribution.late_state"

SOURCE = """
LOG = ["once"]
TREE = None
PAGES = []

class Finalized:
    def __init__(self):
        self.parts = [1]

    def __del__(self):
        LOG.append("finalized")

class Tree:
    pass

def plant(size):
    global TREE
    TREE = Tree()
    TREE.branches = [[n] for n in range(size)]
    TREE.branches.append([(Finalized(),)])

def fell():
    global TREE
    TREE = None

def replace(size):
    global PAGES
    PAGES = [[n] for n in range(size)]
"""


@pytest.fixture
def state() -> Iterator[types.ModuleType]:
    module = types.ModuleType(MODULE)
    exec(compile(SOURCE, __file__, "exec"), module.__dict__)
    sys.modules[MODULE] = module
    yield module
    module.TREE = None
    del sys.modules[MODULE]


@pytest.fixture
def guard(state: types.ModuleType) -> Iterator[Guard]:
    """Looks at each step, a tenth of a millisecond at most: as if everything were so much larger."""
    guard = Guard(watch=[MODULE], process=False, locate="never", budget=1.0)
    guard.start()
    assert guard.engine.watcher is not None
    guard.engine.watcher.graph.allowance = 100_000
    with guard.request("/warm-up"):
        state.LOG.append("by hand")
    yield guard
    guard.close()


def _logged(guard: Guard, since: int) -> list[Leak]:
    return [leak for leak in guard.leaks[since:] if leak.root == f"{MODULE}.LOG"]


def _fell(guard: Guard, state: types.ModuleType, size: int) -> list[Leak]:
    """What is told of the log when one request fells a tree of that size, and others come after it."""
    with guard.request("/plant"):
        state.plant(size)
    for _ in range(100):
        with guard.request("/other"):
            pass
    before = len(guard.leaks)
    with guard.request("/fell"):
        state.fell()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with guard.request("/other"):
            pass
        told = _logged(guard, before)
        if told:
            return told
    return []


def _by(leak: Leak) -> str | None:
    return leak.request and leak.request.path


def test_what_is_finalized_at_once_is_the_doing_of_who_has_dropped_it(
    guard: Guard, state: types.ModuleType
) -> None:
    assert guard.engine.watcher is not None
    guard.engine.watcher.graph.allowance = None
    told = _fell(guard, state, 20)
    assert [(leak.confidence, _by(leak)) for leak in told] == [("exact", "/fell")]


@pytest.mark.parametrize("size", [200, 2_000, 20_000])
def test_what_is_finalized_later_is_nobodys_for_certain(
    guard: Guard, state: types.ModuleType, size: int
) -> None:
    told = _fell(guard, state, size)
    assert len(state.LOG) == 3
    assert told
    for leak in told:
        if leak.confidence == "exact":
            assert _by(leak) == "/fell"
        else:
            assert "/fell" in {suspect.path for suspect in leak.suspects}


def test_what_has_no_finalizer_casts_no_doubt(guard: Guard, state: types.ModuleType) -> None:
    before = len(guard.leaks)
    for n in range(60):
        with guard.request("/replace"):
            state.replace(400)
        if n % 3 == 2:
            with guard.request("/write"):
                state.LOG.append(n)
    told = _logged(guard, before)
    assert [(leak.confidence, _by(leak)) for leak in told] == [("exact", "/write")] * 20


@pytest.mark.parametrize("wanted", [False, True])
def test_a_large_change_is_told_as_it_was(state: types.ModuleType, wanted: bool) -> None:
    state.PAGES = {n: [n] for n in range(3_000)}
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    watcher.graph.release.farewell.wanted = wanted
    items = list(state.PAGES)
    state.PAGES.clear()
    state.PAGES.update({key + 10_000: [key] for key in items})
    [seen] = watcher.check()
    assert (seen.change.before, seen.change.after) == ("dict of 3,000 keys",) * 2
    assert len(seen.change.went) == 3_000
    assert watcher.check() == []
    assert len(watcher.graph) == len(watcher.graph._index)


class Plain:
    pass


class Finalized:
    def __del__(self) -> None:
        pass


class Metaclass(type):
    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError("application code")


class Guarded(metaclass=Metaclass):
    pass


def _generator() -> Iterator[int]:
    yield 1


def test_what_runs_code_when_it_is_let_go_of() -> None:
    table = TypeTable(lambda module: True, {})

    def runs(obj: object) -> bool:
        return runs_code(table.info(type(obj)), obj)

    heard_of = Plain()
    reference = weakref.ref(heard_of)
    assert all(map(runs, (Finalized(), _generator(), heard_of)))
    assert not any(map(runs, (Plain(), Guarded(), [], {}, "text", 1, None, set(), len)))
    del reference
    assert not runs(heard_of)


def test_what_has_not_been_walked_may_hold_such_an_object() -> None:
    def may(*objects: object) -> bool:
        return may_run_code(list(objects), but=Index())

    queue = SimpleQueue[object]()
    assert not may("text", 1, (1, "two"), [[], {}], Plain(), Plain, len, sys, may, queue, iter([1]))
    queue.put(Finalized())
    for holder in ([Finalized()], ((Finalized(),),), {"a": Finalized()}, iter([Finalized()]), queue):
        assert may("text", holder)
    cycle: list[object] = []
    cycle.append(cycle)
    assert not may(cycle)
    assert may([[n] for n in range(2_000)])  # who knows
    known = Index()
    shared = [Finalized()]
    known[id(shared)] = Block()
    assert not may_run_code([shared], but=known)


def _followed() -> tuple[Drops, Turn, Farewell]:
    ledger, turn = Ledger(), Turn()
    farewell = Watcher([__name__], process=False).graph.release.farewell
    farewell.wanted = True
    return Drops(ledger, turn), turn, farewell


def test_those_who_have_dropped_it_are_suspects_from_one_comparison_to_the_next_of_its_kind() -> None:
    drops, turn, farewell = _followed()
    earlier: Any = types.SimpleNamespace(path="/earlier")

    def look(full: bool) -> tuple[bool, bool]:
        drops.about_to_look(farewell, full, proven=True, known=True)
        drops.looked(farewell)
        return drops.suspects(full=False).late, drops.suspects(full=True).late

    assert look(full=True) == (False, False)
    drops.let_out([object()], [Who([earlier])])
    turn.let_go()
    assert look(full=False) == (True, True)
    assert list(drops.suspects(full=False).requests.values()) == [earlier]
    assert not drops.suspects(full=False).anybody
    assert look(full=False) == (False, True)
    assert look(full=True) == (False, True)
    assert look(full=True) == (False, False)


def test_it_is_late_for_as_long_as_it_is_being_finalized() -> None:
    drops, turn, farewell = _followed()
    seen: list[bool] = []

    class Looking:
        def __del__(self) -> None:
            for _ in range(3):  # as after each line of it
                drops.about_to_look(farewell, full=True, proven=True, known=True)
                seen.append(drops.suspects(full=True).late)

    drops.let_out([Looking()], [None])
    drops.about_to_look(farewell, full=True, proven=True, known=True)  # another thread's
    turn.let_go()
    drops.about_to_look(farewell, full=True, proven=True, known=True)
    assert seen == [True] * 3
    assert drops.suspects(full=True).anybody
    for _ in range(2):
        drops.about_to_look(farewell, full=True, proven=True, known=True)
    assert not drops.suspects(full=True).late
