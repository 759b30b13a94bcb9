"""Values that take no application code to read: compared, and written down, the same in C and in Python.

Where there is no compiled part (no compiler, PyPy), what follows is tested of the Python versions alone.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import subprocess
import sys
from array import array
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateguard.watch import alike as alike_module
from stateguard.watch import canonical as canonical_module
from stateguard.watch import compare
from tests.watch.test_compiled import Hostile, HostileList, Subclass, hostile

try:
    from stateguard.watch import _identity as compiled
except ImportError:
    compiled = None

ALIKE = [alike_module._alike, *([compiled.alike] if compiled else [])]
CANONICAL = [canonical_module._canonical, *([compiled.canonical] if compiled else [])]
SHIFT = [compare._shift, *([compiled.shift] if compiled else [])]
TYPES_OF = [compare._types_of, *([compiled.types_of] if compiled else [])]

EVERYTHING = 10**6, 60, 0, 0
LIMITED = 300, 5, 6, 8

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=12)
    | st.binary(max_size=12)
)
keys = st.text(max_size=3) | st.integers(-3, 3)
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
    ),
    max_leaves=25,
)


def told_apart(value):
    """What tells plain values apart: unlike ``==``, also by type, and zero by its sign."""
    cls = type(value)
    if cls is dict:
        return "dict", frozenset((told_apart(k), told_apart(v)) for k, v in value.items())
    if cls is list or cls is tuple:
        return cls.__name__, tuple(map(told_apart, value))
    return cls.__name__, repr(value)


def rebuilt(value):
    """An equal value of other objects, mappings filled in another order."""
    if type(value) is dict:
        return {rebuilt(k): rebuilt(v) for k, v in reversed(value.items())}
    if type(value) is list or type(value) is tuple:
        return type(value)(map(rebuilt, value))
    return value


@given(values, values)
@settings(max_examples=300)
def test_values_are_alike_if_nothing_tells_them_apart(a, b):
    for alike in ALIKE:
        assert alike(a, b, 10**6, 60)[0] == ([] if told_apart(a) == told_apart(b) else None)
        assert alike(a, rebuilt(a), 10**6, 60)[0] == []


@given(values, values, st.integers(0, 40), st.integers(0, 6))
@settings(max_examples=300)
def test_both_ways_of_comparing_stop_at_the_same(a, b, left, levels):
    pairs = [(a, b), (a, rebuilt(a)), (a, copy.deepcopy(a))]
    for one, other in pairs:
        assert len({repr(alike(one, other, left, levels)) for alike in ALIKE}) == 1


@given(values, st.sampled_from([EVERYTHING, LIMITED, (7, 60, 0, 0), (0, 60, 0, 0), (10**6, 0, 4, 4)]))
@settings(max_examples=300)
def test_both_ways_of_writing_give_the_same_bytes(value, limits):
    found = {canonical(value, *limits) for canonical in CANONICAL}
    assert len(found) == 1
    ((written, left),) = found
    assert type(written) is bytes
    assert left <= limits[0]


@given(values, values)
@settings(max_examples=300)
def test_bytes_tell_apart_what_is_told_apart(a, b):
    for canonical in CANONICAL:
        same = canonical(a, *EVERYTHING)[0] == canonical(b, *EVERYTHING)[0]
        assert same == (told_apart(a) == told_apart(b))
        assert canonical(a, *EVERYTHING) == canonical(rebuilt(a), *EVERYTHING)


class Key(str):
    __slots__ = ()
    __eq__ = Hostile._ask
    __hash__ = str.__hash__


HostileTuple, Number = hostile(tuple), type("Number", (int,), {"__eq__": Hostile._ask, "__hash__": None})

OTHERS = {
    "hostile": Hostile,
    "subclass of list": lambda: HostileList([1]),
    "subclass of dict": lambda: Subclass(a=1),
    "subclass of tuple": lambda: HostileTuple((1,)),
    "subclass of str": lambda: Key("x"),
    "subclass of int": lambda: Number(3),
    "ordered": lambda: OrderedDict(a=1),
    "set": lambda: {1},
    "complex": lambda: complex("1j"),
    "key of another class": lambda: {Key("a"): 1},
    "key that is a tuple": lambda: {("a", 1): 1},
    "key that is a truth value": lambda: {True: 1},
    "key that is a float": lambda: {1.0: 1},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_objects_are_left_to_the_caller_and_not_asked(name):
    make = OTHERS[name]
    Hostile.asked.clear()
    a, b = make(), make()
    left, right = {"x": [1, a], "y": (2, a)}, {"y": (2, b), "x": [1, b]}
    for alike in ALIKE:
        pairs, _ = alike(left, right, 100, 60)
        assert [id(one) for one in pairs] == [id(a), id(b)] * 2
        assert alike(a, b, 100, 60)[0][0] is a
        assert alike([1, a], [2, b], 100, 60)[0] is None
    for canonical in CANONICAL:
        assert canonical(left, *EVERYTHING) == (None, EVERYTHING[0])
        assert canonical(a, *EVERYTHING) == (None, EVERYTHING[0])
    assert Hostile.asked == []


def test_a_key_of_the_other_mapping_is_not_asked_either():
    Hostile.asked.clear()
    plain, other = {"a": 1}, {Key("a"): 1}
    for alike in ALIKE:
        assert alike(plain, other, 100, 60)[0] == [plain, other]
        assert alike(other, plain, 100, 60)[0][0] is other
    assert Hostile.asked == []


def test_what_holds_itself_ends():
    def ring():
        one = {"value": [1, "x"]}
        one["self"] = [one, (one,)]
        return one

    for alike in ALIKE:
        assert alike(ring(), ring(), 1000, 60) == ([], alike(ring(), ring(), 1000, 60)[1])
    assert len({canonical(ring(), *EVERYTHING) for canonical in CANONICAL}) == 1


def test_what_is_deep_ends():
    def deep(levels, end):
        value = [end]
        for _ in range(levels):
            value = [value]
        return value

    for alike in ALIKE:
        assert alike(deep(50, 1), deep(50, 2), 10**6, 60)[0] is None
        assert alike(deep(10_000, 1), deep(10_000, 2), 10**6, 60)[0] == []
    assert len({canonical(deep(10_000, 1), *EVERYTHING) for canonical in CANONICAL}) == 1


def test_what_is_too_large_is_not_called_alike():
    many = list(range(1000))
    for alike in ALIKE:
        assert alike([many], [list(many)], 500, 60)[0] is None
        assert alike([many], [list(many)], 1002, 60)[0] == []
        assert alike([many] * 5, [list(many) for _ in range(5)], 3000, 60)[0] is None
    for canonical in CANONICAL:
        assert canonical([many, 1], 500, 60, 0, 0) == (b"l2:l1000:i0x1:", -1)
        written, left = canonical(many, 2048, 60, 256, 1 << 16)
        assert written == b"l1000:" + b"".join(
            f"i{hex(n)}:".encode() for n in (*range(128), *range(872, 1000))
        )
        assert left == 2048 - 257


def test_a_long_text_is_written_by_its_ends():
    text = "é" * 50 + "x" * 1000 + "𝄞" * 50
    for canonical in CANONICAL:
        written, _ = canonical(text, 10, 60, 4, 100)
        assert written == b"s1100:" + ("é" * 50 + "𝄞" * 50).encode()
        written, _ = canonical(text.encode(), 10, 60, 4, 6)
        assert written == b"b1300:" + text.encode()[:3] + text.encode()[-3:]


def test_many_parts_are_compared_without_losing_or_keeping_a_reference():
    marks = [object() for _ in range(300)]
    a, b = [{"x": mark} for mark in marks], [{"x": object()} for _ in marks]
    before = [sys.getrefcount(mark) for mark in marks]
    for alike in ALIKE:
        pairs, _ = alike(a, b, 10**4, 60)
        assert [id(one) for one in pairs[::2]] == list(map(id, marks))
        assert len(pairs) == 600
        del pairs
    assert [sys.getrefcount(mark) for mark in marks] == before


@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("canonical", CANONICAL)
def test_wrong_arguments_are_errors(alike, canonical):
    with pytest.raises(TypeError):
        alike(1, 2, 3)
    with pytest.raises(TypeError):
        alike(1, 2, "x", "y")
    with pytest.raises(TypeError):
        canonical(1)
    with pytest.raises(TypeError):
        canonical([], None, 1, 1, 1)


@given(st.lists(st.integers(0, 2**31), max_size=40), st.integers(0, 45), st.integers(0, 1000))
def test_places_are_shifted(places, start, by):
    expected = [place + by if i >= start else place for i, place in enumerate(places)]
    for shift in SHIFT:
        given_places = array("I", places)
        assert shift(given_places, start, by) is None
        assert list(given_places) == expected
        shift(given_places, start, -by)
        assert list(given_places) == places


@pytest.mark.skipif(compiled is None, reason="there is no compiled part")
def test_only_an_array_of_unsigned_integers_is_shifted():
    for wrong in (array("i", [1]), array("d", [1.0]), bytearray(8)):
        with pytest.raises(ValueError, match="unsigned"):
            compiled.shift(wrong, 0, 1)
    with pytest.raises(ValueError, match="unsigned"):
        compiled.shift(array("I", [1]), -1, 1)
    with pytest.raises((TypeError, BufferError)):
        compiled.shift([1], 0, 1)
    with pytest.raises(TypeError):
        compiled.shift(array("I", [1]), 0)
    with pytest.raises(TypeError):
        compiled.types_of((1, 2))


class Asked(type):
    __eq__ = __hash__ = Hostile._ask


def test_types_are_told_apart_by_identity():
    Hostile.asked.clear()
    one, other = Asked("One", (), {}), Asked("Other", (), {})
    things = [1, 2, "x", one(), 3, other(), one(), None, [], "y"]
    expected = [int, str, one, other, type(None), list]
    for types_of in TYPES_OF:
        assert [id(cls) for cls in types_of(things)] == list(map(id, expected))
        assert types_of([]) == []
        many = [type(f"T{i}", (), {})() for i in range(200)]
        assert {id(cls) for cls in types_of(many * 2)} == {id(type(one)) for one in many}
    assert Hostile.asked == []


SCRIPT = """
import json, sys
from stateguard.watch.digest import Digester
from stateguard.watch.kinds import TypeTable
class Made:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)
digester = Digester(TypeTable(lambda name: True, {}))
values = [
    1, "x", [1, 2], {"b": 1, "a": [True, None]}, {1: "x", "y": 2.5}, {"x", "y", 3}, Made(a=1, b=[2]),
    Made(me=Made(a="x"), all=[Made(), 1]), (b"x", -0.0), {("a", 1): 2},
    [{"n": n, "of": [n]} for n in range(900)],
    {frozenset((str(i), i)) for i in range(90)}, {(i, str(i), frozenset(str(i))) for i in range(300)},
    "\\ud800", 10**400, 1j, Made(**{f"a{i}": i for i in range(400)}),
]
print(json.dumps([digester.digest(value) for value in values]))
"""


def test_hashes_are_the_same_in_every_process_compiled_or_not():
    printed = set()
    for seed, pure in itertools.product(("0", "17"), ("", "1")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "STATEGUARD_PURE": pure}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1
    hashes = json.loads(printed.pop())
    assert len(set(hashes)) == len(hashes)
    assert [len(one) for one in hashes].count(13) == 1, "of one, not all is in there"
