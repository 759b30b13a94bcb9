"""The guard agrees with a naive deep comparison, on random object graphs and random mutations."""

from __future__ import annotations

import copy
import random
import sys
import types
from collections import OrderedDict, deque
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stateguard import Guard

NAME = "property_app"


class Thing:
    """An instance with a dictionary."""


class Slotted:
    """An instance without."""

    __slots__ = ("a", "b")


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.binary(max_size=3),
)


def _thing(attributes: dict[str, Any]) -> Thing:
    made = Thing()
    made.__dict__.update(attributes)
    return made


def _slotted(values: tuple[Any, Any]) -> Slotted:
    made = Slotted()
    made.a, made.b = values
    return made


def _grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keyed = st.dictionaries(st.one_of(st.text("abc", max_size=2), st.integers(0, 9)), inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(deque),
        keyed,
        keyed.map(OrderedDict),
        st.sets(st.integers(0, 9), max_size=4),
        st.tuples(inner, inner),
        st.binary(max_size=4).map(bytearray),
        st.dictionaries(st.sampled_from("abcd"), inner, max_size=3).map(_thing),
        st.tuples(inner, inner).map(_slotted),
    )


VALUES = st.recursive(ATOMS, _grow, max_leaves=25)
STATES = st.dictionaries(st.sampled_from(["ONE", "TWO", "SIX"]), VALUES, min_size=1, max_size=3)


# -- the naive comparison --------------------------------------------------------------------------


def frozen(value: Any, above: tuple[int, ...] = ()) -> Any:
    """The content of a value: what two states of equal content have in common."""
    if id(value) in above:
        return ("again", len(above) - above.index(id(value)))
    inner = (*above, id(value))
    name = type(value).__name__
    if isinstance(value, OrderedDict):
        return (name, tuple((frozen(k), frozen(v, inner)) for k, v in value.items()))
    if isinstance(value, dict):
        return (name, tuple((frozen(k), frozen(v, inner)) for k, v in value.items()))
    if isinstance(value, (list, tuple, deque)):
        return (name, tuple(frozen(part, inner) for part in value))
    if isinstance(value, set):
        return (name, tuple(sorted(value)))
    if isinstance(value, bytearray):
        return (name, bytes(value))
    if isinstance(value, Thing):
        return (name, tuple(sorted((k, frozen(v, inner)) for k, v in vars(value).items())))
    if isinstance(value, Slotted):
        return (name, frozen(value.a, inner), frozen(value.b, inner))
    if isinstance(value, float):
        return (name, repr(value))
    return (name, value)


def differing(before: Any, after: Any, path: str) -> set[str]:
    """The paths of the containers whose own content differs, in two deep copies of one tree."""
    if frozen(before) == frozen(after):
        return set()
    if type(before) is not type(after):
        return {path}
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(before, dict):
        if [*map(frozen, before)] != [*map(frozen, after)]:
            return {path}
        pairs = [(f"{path}[{k!r}]", before[k], after[k]) for k in before]
    elif isinstance(before, (list, tuple, deque)):
        if len(before) != len(after):
            return {path}
        pairs = [(f"{path}[{i}]", x, y) for i, (x, y) in enumerate(zip(before, after, strict=True))]
    elif isinstance(before, Thing):
        if set(vars(before)) != set(vars(after)):
            return {path}
        pairs = [(f"{path}.{k}", vars(before)[k], vars(after)[k]) for k in vars(before)]
    elif isinstance(before, Slotted):
        pairs = [(f"{path}.a", before.a, after.a), (f"{path}.b", before.b, after.b)]
    if not pairs:
        return {path}
    return set().union(*(differing(x, y, p) for p, x, y in pairs))


# -- random mutations ------------------------------------------------------------------------------


def nodes(state: dict[str, Any]) -> list[Any]:
    """Every mutable object reachable from the state."""
    found: list[Any] = []
    todo: list[Any] = list(state.values())
    while todo:
        value = todo.pop()
        if isinstance(value, tuple):
            todo.extend(value)
            continue
        if not isinstance(value, (list, dict, set, deque, bytearray, Thing, Slotted)):
            continue
        if any(value is known for known in found):
            continue
        found.append(value)
        if isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, (list, deque)):
            todo.extend(value)
        elif isinstance(value, Thing):
            todo.extend(vars(value).values())
        elif isinstance(value, Slotted):
            todo.extend((value.a, value.b))
    return found


def mutate(node: Any, rng: random.Random, new: Any) -> None:
    """One change of one object, or none at all."""
    if isinstance(node, list):
        rng.choice(
            [
                lambda: node.append(new),
                lambda: node.insert(0, new),
                lambda: node.pop() if node else None,
                node.clear,
                node.reverse,
                lambda: node.__setitem__(rng.randrange(len(node)), new) if node else None,
                lambda: node.__setitem__(slice(0, 1), [new, new]),
                lambda: node.__setitem__(slice(None), node[:]),
                lambda: node.__imul__(2),
                lambda: (node.append(new), node.pop()),
            ]
        )()
    elif isinstance(node, deque):
        rng.choice(
            [
                lambda: node.append(new),
                lambda: node.appendleft(new),
                lambda: node.rotate(1),
                lambda: node.popleft() if node else None,
                lambda: node.extend([new, new]),
            ]
        )()
    elif isinstance(node, dict):
        key = rng.choice([*node, "zz", 77])
        rng.choice(
            [
                lambda: node.__setitem__(key, new),
                lambda: node.pop(key, None),
                lambda: node.update({key: new, "yy": new}),
                lambda: node.__setitem__(key, node.pop(key)) if key in node else None,
                lambda: node.setdefault(key, new),
                node.clear,
            ]
        )()
    elif isinstance(node, set):
        number = rng.randrange(10)
        rng.choice(
            [lambda: node.add(number), lambda: node.discard(number), lambda: node.__ixor__({number})]
        )()
    elif isinstance(node, bytearray):
        rng.choice(
            [lambda: node.extend(b"x"), node.clear, lambda: node.__setitem__(slice(0, 1), b"q"), node.reverse]
        )()
    elif isinstance(node, Thing):
        name = rng.choice([*vars(node), "zz"])
        rng.choice([lambda: setattr(node, name, new), lambda: vars(node).pop(name, None), vars(node).clear])()
    elif isinstance(node, Slotted):
        setattr(node, rng.choice("ab"), new)


class Watched:
    """A module with a state, and a guard that watches it."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.module = types.ModuleType(NAME)
        vars(self.module).update(state)
        for cls in (Thing, Slotted):
            cls.__module__ = NAME
        sys.modules[NAME] = self.module
        self.guard = Guard(watch=[NAME], locate="never", process=False, keep=10_000)

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: object) -> None:
        self.guard.close()
        del sys.modules[NAME]
        for cls in (Thing, Slotted):
            cls.__module__ = __name__

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self.module).items() if not name.startswith("__")}


LIMITS = settings(
    database=None,
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@LIMITS
@given(STATES, st.lists(st.tuples(st.integers(0, 10**6), VALUES), min_size=1, max_size=6))
def test_changed_or_not(state: dict[str, Any], changes: list[tuple[int, Any]]) -> None:
    with Watched(state) as watched:
        for seed, new in changes:
            rng = random.Random(seed)
            before = frozen(watched.state())
            told = len(watched.guard.leaks)
            with watched.guard.request("r"):
                found = nodes(watched.state())
                if not found or rng.random() < 0.15:
                    setattr(watched.module, rng.choice(["ONE", "TWO", "NEW"]), new)
                else:
                    mutate(rng.choice(found), rng, new)
            changed = frozen(watched.state()) != before
            leaks = watched.guard.leaks[told:]
            assert bool(leaks) == changed, ([(leak.path, leak.kind) for leak in leaks], before)


@LIMITS
@given(STATES, st.integers(0, 10**6), ATOMS)
@example({"ONE": [[], []]}, 4, None)
def test_changed_paths(state: dict[str, Any], seed: int, new: Any) -> None:
    state = copy.deepcopy(state)
    if shares(state):
        return  # an object with two names has two paths, of which one is told
    with Watched(state) as watched:
        rng = random.Random(seed)
        found = nodes(state)
        if not found:
            return
        before = copy.deepcopy(state)
        with watched.guard.request("r"):
            mutate(rng.choice(found), rng, new)
        expected = set().union(*(differing(before[name], state[name], f"{NAME}.{name}") for name in state))
        told = {leak.path for leak in watched.guard.leaks}
        if "{...}" not in "".join(told) and "<" not in "".join(told):
            for path in expected:
                assert any(near(path, other) for other in told), (path, told)
            for other in told:
                assert any(near(path, other) for path in expected), (other, expected)


def shares(state: dict[str, Any]) -> bool:
    """Whether some object of the state has two names."""
    seen: set[int] = set()

    def walk(value: Any) -> bool:
        if not isinstance(value, (list, dict, set, deque, bytearray, Thing, Slotted, tuple)) or value == ():
            return False
        if id(value) in seen:
            return True
        seen.add(id(value))
        if isinstance(value, dict):
            return any(map(walk, value.values()))
        if isinstance(value, (list, tuple, deque)):
            return any(map(walk, value))
        if isinstance(value, Thing):
            return any(map(walk, vars(value).values()))
        return isinstance(value, Slotted) and (walk(value.a) or walk(value.b))

    return any(map(walk, state.values()))


def near(expected: str, told: str) -> bool:
    """A change is told of a container or of one of its entries."""
    return told == expected or told.startswith((expected + "[", expected + ".")) or expected.startswith(told)


@LIMITS
@given(STATES, st.integers(0, 10**6))
def test_cycles_and_aliases(state: dict[str, Any], seed: int) -> None:
    """Objects that hold each other, and themselves: the walk ends, and a change is told once."""
    rng = random.Random(seed)
    for node in nodes(state):
        if isinstance(node, (list, deque)) and rng.random() < 0.6:
            node.append(rng.choice(nodes(state)))
        elif isinstance(node, dict) and rng.random() < 0.6:
            node["loop"] = rng.choice(nodes(state))
    lists = [node for node in nodes(state) if isinstance(node, list)]
    with Watched(state) as watched:
        with watched.guard.request("quiet"):
            pass
        assert not watched.guard.leaks
        if lists:
            with watched.guard.request("r"):
                rng.choice(lists).append("new")
            assert [leak.kind for leak in watched.guard.leaks] == ["appended"]


@LIMITS
@given(st.text(min_size=1, max_size=5), st.integers(1, 200_000), st.integers(0, 10**9))
def test_long_strings_count_to_the_last_character(text: str, times: int, seed: int) -> None:
    before = text * times
    at = seed % len(before)
    after = before[:at] + chr((ord(before[at]) + 1) % 0xD000) + before[at + 1 :]
    with Watched({"ONE": before, "TWO": [before]}) as watched:
        with watched.guard.request("r"):
            watched.module.ONE = after
            watched.module.TWO[0] = after
        assert sorted(leak.path for leak in watched.guard.leaks) == [f"{NAME}.ONE", f"{NAME}.TWO[0]"]
