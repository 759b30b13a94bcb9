"""After thousands of random mutations the graph is what a graph built anew from the same roots would be.

Both are compared by the objects they watch and by what they hold of each; what is no longer reachable must
be gone from the first as it never was in the second.
"""

from __future__ import annotations

import gc
import random
import sys
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from functools import lru_cache, partial
from time import perf_counter_ns

import pytest

from stateguard.parallel import PARALLEL
from stateguard.watch.block import END
from stateguard.watch.kinds import Kind
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.random_state"

CLASSES_STAY = PARALLEL and sys.version_info < (3, 14)
"""A free-threaded CPython 3.13 keeps classes for ever, once it has had a second thread."""


class Plain:
    pass


class Slotted:
    __slots__ = ("__weakref__", "left", "right")


class Mixed(Slotted):
    pass


class ListOf(list):
    pass


class DictOf(dict):
    pass


for _cls in (Plain, Slotted, Mixed, ListOf, DictOf):
    _cls.__module__ = MODULE


def closure(value):
    def inner():
        nonlocal value
        return value

    inner.__module__ = MODULE
    return inner


def cached():
    @lru_cache(8)
    def made(n):
        return [n]

    made(1)
    return made


NEW = (
    list,
    dict,
    set,
    deque,
    OrderedDict,
    lambda: defaultdict(list),
    Plain,
    Slotted,
    Mixed,
    ListOf,
    DictOf,
    lambda: bytearray(b"x"),
    lambda: closure([]),
    cached,
    lambda: type("Made", (), {"__module__": MODULE, "items": []}),
    lambda: (["in a tuple"],),
    lambda: partial(print, []),
    lambda: object(),
    lambda: "a word",
    lambda: 7,
)

KEYS = ("a", "b", 1, 2, ("t", 1), None)
NAMES = ("left", "right")


class Random:
    """Random mutations of everything reachable from one module."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.module = types.ModuleType(MODULE)
        self.module.root_list, self.module.root_dict = [], {}
        self.module.thing, self.module.slotted = Plain(), Slotted()
        self.module.empty, self.module.numbered = [], {1: []}

    def objects(self):
        """Everything that mutations can reach, in an order that only the seed decides."""
        found, todo, seen = [], [self.module.__dict__], set()
        while todo:
            obj = todo.pop()
            if id(obj) in seen or len(found) > 400:
                continue
            seen.add(id(obj))
            found.append(obj)
            todo.extend(self.parts(obj))
        return found

    def parts(self, obj):
        if isinstance(obj, dict):
            return [value for key, value in obj.items() if key not in ("__builtins__", "__spec__")]
        if isinstance(obj, list | deque | tuple):
            return list(obj)
        if isinstance(obj, types.FunctionType):
            return [obj.__closure__[0].cell_contents] if obj.__module__ == MODULE else []
        if isinstance(obj, type):
            return [obj.items] if "items" in vars(obj) else []
        if isinstance(obj, partial):
            return list(obj.args)
        own = list(vars(obj).values()) if hasattr(obj, "__dict__") else []
        return own + [getattr(obj, name) for name in NAMES if hasattr(obj, name)]

    def value(self, objects):
        """Something new, or something that is in the graph already: sharing, cycles, moves."""
        if self.rng.random() < 0.6:
            return self.rng.choice(NEW)()
        return self.rng.choice(objects)

    def mutate(self):
        rng = self.rng
        objects = self.objects()
        obj = rng.choice(objects)
        new = self.value(objects)
        if obj is self.module.__dict__:
            setattr(self.module, f"name{rng.randrange(4)}", new)
        elif isinstance(obj, list | deque):
            self.sequence(obj, new, objects)
        elif isinstance(obj, dict):
            self.mapping(obj, new)
        elif isinstance(obj, set):
            obj.add(rng.choice([1, 2, 3, "x"])) if rng.random() < 0.7 else obj.clear()
        elif isinstance(obj, bytearray):
            obj.extend(b"more")
        elif isinstance(obj, types.FunctionType) and obj.__module__ == MODULE:
            obj.__closure__[0].cell_contents = new
        elif isinstance(obj, type):
            obj.items = new
        elif isinstance(obj, Plain | Slotted):
            self.attribute(obj, new)

    def attribute(self, obj, new):
        name = self.rng.choice(NAMES)
        if hasattr(obj, name) and self.rng.random() < 0.4:
            delattr(obj, name)
        else:
            setattr(obj, name, new)

    def sequence(self, obj, new, objects):
        rng, n = self.rng, len(obj)
        act = rng.randrange(6) if n < 12 else 1
        if act == 0:
            obj.insert(0, new)
        elif act == 1 and obj:
            obj.pop()
        elif act == 2 and obj:
            obj[rng.randrange(n)] = new
        elif act == 3:
            obj.reverse()
        elif act == 4 and obj:  # from the end of one to the beginning of another
            others = [other for other in objects if isinstance(other, list | deque)]
            rng.choice(others).insert(0, obj.pop())
        else:
            obj.append(new)

    def mapping(self, obj, new):
        rng = self.rng
        act = rng.randrange(5)
        if act == 0 and obj:
            key = rng.choice(list(obj))
            del obj[key]
        elif act == 1 and obj and isinstance(obj, OrderedDict):
            obj.move_to_end(next(iter(obj)))
        elif act == 2 and obj:  # another key for the same value
            obj[rng.choice(KEYS)] = obj.pop(next(iter(obj)))
        elif act == 3 and len(obj) > 4:
            obj.clear()
        else:
            obj[rng.choice(KEYS)] = new


def held(graph, node):
    info, content = graph.content(node)
    values = list(map(id, content.values))
    assert not any(value is END for value in content.values)
    if info.kind is Kind.SET:
        values.sort()
    keys = None if content.keys is None else list(map(id, content.keys))
    slots = None if content.slots is None else {name: id(v) for name, v in content.slots.items()}
    return info.kind, values, keys, id(content.own), slots, content.fingerprint


def nodes(graph):
    found = {}
    for block in graph._all_blocks():
        for node, info in zip(block.nodes, block.infos, strict=True):
            if graph._index.get(id(node)) is block:
                found[id(node)] = (node, info)
    found.update({key: (graph.probes.node(key), graph.probes.infos[key]) for key in graph.probes.nodes})
    return found


def compare(watcher, seed, step):
    gc.collect()
    anew = Watcher([MODULE], process=False)
    anew.start()
    kept, fresh = nodes(watcher.graph), nodes(anew.graph)
    where = f"seed {seed}, step {step}"
    stale = [type(kept[key][0]).__name__ for key in kept.keys() - fresh.keys()]
    missing = [type(fresh[key][0]).__name__ for key in fresh.keys() - kept.keys()]
    assert (stale, missing) == ([], []), where
    edges = Counter(id(child) for node, _ in fresh.values() for child in anew.graph.children(node))
    for key, (node, _) in fresh.items():
        assert held(watcher.graph, node) == held(anew.graph, node), (where, type(node))
        extra = edges[key] + (key in watcher.graph._anchored) - 1
        assert watcher.graph._extra.get(key, 0) == max(extra, 0), (where, type(node))
        assert watcher.paths.locate(node) is not None, (where, type(node))


@pytest.fixture
def state(request):
    made = Random(request.param)
    sys.modules[MODULE] = made.module
    yield made, request.param
    del sys.modules[MODULE]


@pytest.mark.parametrize("state", range(8), indirect=True)
def test_the_graph_after_random_mutations_is_the_graph_built_anew(state):
    made, seed = state
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    for step in range(400):
        for _ in range(made.rng.randrange(1, 4)):
            made.mutate()
        if made.rng.random() < 0.2:
            watcher.check_hot()
        watcher.check()
        watcher.check_cold()
        if step % 40 == 0:
            compare(watcher, seed, step)
    compare(watcher, seed, "last")
    before = watcher.check() + watcher.check_cold()
    assert before == []


@pytest.mark.parametrize("state", [0], indirect=True)
def test_what_is_dropped_is_let_go_of_by_the_next_check(state):
    made, _ = state
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    for build in (Plain, Mixed, ListOf, lambda: type("Made", (), {"__module__": MODULE})):
        item = build()
        gone = weakref.ref(item)
        made.module.root_list.append(item)
        watcher.check()
        if not isinstance(item, type | list):
            item.left = [item]  # a cycle
            watcher.check()
        del item
        made.module.root_list.clear()
        watcher.check()
        gc.collect()
        if CLASSES_STAY and type(gone()) is type:
            assert gone() not in watcher.graph
        else:
            assert gone() is None


@pytest.mark.parametrize("state", [0], indirect=True)
def test_attributes_that_were_set_in_another_order_than_the_first_instances(state):
    class Thing:
        pass

    Thing.__module__ = MODULE
    made, _ = state
    made.module.things = [Thing() for _ in range(6)]
    for thing in made.module.things[:3]:  # they decide in which order the attributes are referred to
        thing.left, thing.right = 1001, 1002
    for thing in made.module.things[3:]:
        thing.right, thing.left = 1003, 1004
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    seen = [watcher.graph.content(vars(thing)) for thing in made.module.things]
    assert [dict(zip(content.keys, content.values, strict=True)) for _, content in seen] == [
        *[{"left": 1001, "right": 1002}] * 3,
        *[{"left": 1004, "right": 1003}] * 3,
    ]


@pytest.mark.parametrize("state", [0], indirect=True)
def test_what_holds_itself_through_something_new_is_let_go_of(state):
    made, _ = state
    item = made.module.root_list[:]
    made.module.root_list.append(item)
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    new = [item]
    item.append(new)  # it leads back to what loses its last name at the same time
    made.module.root_list.clear()
    watcher.check()
    assert item not in watcher.graph
    assert new not in watcher.graph
    compare(watcher, 0, "last")


@pytest.mark.parametrize("state", [0], indirect=True)
def test_what_holds_itself_is_let_go_of_when_the_walk_has_come_to_its_end(state):
    made, _ = state
    item = []
    item.append(item)
    made.module.root_list.append(item)
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    watcher.graph.allowance = 0
    made.module.root_list[:] = [[[n]] for n in range(500)]  # more than is walked at once
    watcher.check()
    assert watcher.graph.walk
    while watcher.graph.walk or watcher.graph.release:
        watcher.check_slice(perf_counter_ns() + 1_000_000)
    assert item not in watcher.graph
    compare(watcher, 0, "last")


def test_nothing_differs_after_a_walk():
    """Asking an instance for its dictionary changes what it refers to before CPython 3.13."""

    class Made:
        def __init__(self):
            self.parts = []

    Made.__module__ = "tests.watch.just_walked"
    module = types.ModuleType(Made.__module__)
    module.MADE = [Made() for _ in range(100)]
    sys.modules[module.__name__] = module
    try:
        watcher = Watcher([module.__name__], process=False)
        watcher.start()
        assert watcher.graph.check() == []
        module.MADE.append(Made())
        assert len(watcher.graph.check()) == 1
        assert watcher.graph.check() == []
    finally:
        del sys.modules[module.__name__]
