"""What compares by identity in compiled code and what does so in Python say the same, and ask nobody.

Where there is no compiled part (no compiler, PyPy), what follows is tested of the Python versions alone.
"""

from __future__ import annotations

import gc
import operator
import os
import subprocess
import sys
from collections import OrderedDict, deque
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateguard.watch import compare

try:
    from stateguard.watch import _identity as compiled
except ImportError:
    compiled = None

SAME_REFERENTS = [compare._same_referents, *([compiled.same_referents] if compiled else [])]
SAME_KEYS = [compare._same_keys, *([compiled.same_keys] if compiled else [])]
SAME_ITEMS = [compare._same_items, *([compiled.same_items] if compiled else [])]


class Hostile:
    """Raises whatever it is asked, once it has been put where it is."""

    asked: list[str] = []
    armed = False

    def _ask(self, *args, **kwargs):
        Hostile.asked.append("something")
        raise RuntimeError("nobody may ask")

    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __index__ = __repr__ = __getattr__ = (
        __contains__
    ) = _ask

    def __hash__(self):
        return self._ask() if Hostile.armed else object.__hash__(self)

    def __getattribute__(self, name):
        return (
            object.__getattribute__(self, "_ask")() if Hostile.armed else object.__getattribute__(self, name)
        )


def hostile(base):
    """A subclass of a builtin that raises whatever it is asked."""
    names = (
        "__eq__ __hash__ __len__ __iter__ __getitem__ __contains__ __bool__ keys items values copy".split()
    )
    return type(f"Hostile{base.__name__}", (base,), dict.fromkeys(names, Hostile._ask))


HostileList = hostile(list)


class Plain:
    def __init__(self, *values):
        self.a, self.b, self.c = (*values, None, None, None)[:3]


class Slotted:
    __slots__ = ("a", "b", "c")
    __init__ = Plain.__init__


class Subclass(dict):
    pass


def closure(*values):
    first, rest = (*values, None)[0], values

    def inner(default=values):
        return first, rest

    return inner


def attributes(*values):
    return type("Made", (), {f"attribute_{n}": value for n, value in enumerate(values)})


ATOMS = [
    None,
    True,
    7,
    10**30,
    "a",
    "b",
    "".join(["a", "b"]),
    1.5,
    (),
    ("t",),
    [],
    {},
    Hostile(),
    Hostile(),
    int,
    Plain,
]
# Drawn are numbers, and not what they stand for: hypothesis looks at what it draws.
atoms = st.integers(0, len(ATOMS) - 1)


def made_by(makers, most):
    return st.lists(st.tuples(st.integers(0, len(makers) - 1), st.lists(atoms, max_size=6)), max_size=most)


def make(makers, drawn):
    return tuple(makers[maker](*(ATOMS[n] for n in values)) for maker, values in drawn)


def keyed(kind):
    return lambda *values: kind(zip("abcdefgh", values, strict=False))


def mixed(kind):
    return lambda *values: kind(zip([0, "x", (), 1.5, None, "y"], values, strict=False))


DICTS = [keyed(dict), mixed(dict)]
DICTS_OF_ALL_KINDS = [
    *DICTS,
    *(make(kind) for make in (keyed, mixed) for kind in (Subclass, OrderedDict, hostile(dict))),
    lambda *values: vars(Plain(*values)),
]
MAKERS = [
    *DICTS_OF_ALL_KINDS,
    lambda *values: [*values],
    lambda *values: values,
    lambda *values: {each for each in values if each.__class__ not in (list, dict)},
    lambda *values: frozenset(each for each in values if each.__class__ not in (list, dict)),
    lambda *values: deque(values, maxlen=5),
    lambda *values: Plain(*values),
    lambda *values: Slotted(*values),
    lambda *values: HostileList(values),
    lambda *values: hostile(tuple)(values),
    lambda *values: closure(*values),
    lambda *values: closure(*values).__closure__[0],
    lambda *values: Plain(*values).__init__,
    lambda *values: iter([*values]),
    lambda *values: (each for each in values),
    lambda *values: attributes(*values),
    lambda *values: memoryview(b"bytes"),
    lambda *values: int,
    lambda *values: dict,
    lambda *values: type,
    lambda *values: Plain,
    lambda *values: 5,
    lambda *values: "text",
    lambda *values: sys.modules[__name__],
]


def change(node, value):
    """Change what ``node`` holds, if it can be: what is asked is the exact type's own method."""
    if isinstance(node, OrderedDict):
        node.move_to_end("z") if "z" in node else OrderedDict.__setitem__(node, "z", value)
    elif isinstance(node, dict):
        dict.pop(node, "a", None) if dict.__len__(node) > 2 else dict.__setitem__(node, "z", value)
    elif isinstance(node, list):
        list.append(node, value)
    elif isinstance(node, deque):
        node.append(value)
    elif isinstance(node, set):
        node.add(str(len(node)))
    elif isinstance(node, Plain | Slotted) or type(node) is type(change):
        object.__setattr__(node, "c" if isinstance(node, Plain | Slotted) else "c_of_function", value)
    elif type(node).__name__ == "cell":
        node.cell_contents = value
    elif type(node).__name__ == "type" and node.__name__ == "Made":
        node.another = value


def perturbed(data, before):
    """A list that differs a little, or not at all."""
    after = list(before)
    how = data.draw(st.sampled_from(["not at all", "more", "less", "swapped", "replaced"]))
    if how == "more":
        after.insert(data.draw(st.integers(0, len(after))), ATOMS[data.draw(atoms)])
    elif after and how != "not at all":
        i, j = (data.draw(st.integers(0, len(after) - 1)) for _ in range(2))
        if how == "less":
            del after[i]
        elif how == "swapped":
            after[i], after[j] = after[j], after[i]
        else:
            after[i] = ATOMS[data.draw(atoms)]
    return after


def same_objects(a, b):
    return len(a) == len(b) and all(map(operator.is_, a, b))


@pytest.fixture(autouse=True)
def nobody_is_asked():
    Hostile.asked.clear()
    yield
    Hostile.armed = False
    assert not Hostile.asked


def answers(functions, *args):
    """What every version says; the hostile ones raise meanwhile."""
    Hostile.armed = True
    try:
        return [function(*args) for function in functions]
    finally:
        Hostile.armed = False


def all_say(expected, functions, *args):
    found = answers(functions, *args)
    assert [answer is expected for answer in found] == [True] * len(functions), (found, expected)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(drawn=made_by(MAKERS, 8), data=st.data())
def test_referents(drawn, data):
    nodes = make(MAKERS, drawn)
    before = gc.get_referents(*nodes)
    all_say(True, SAME_REFERENTS, nodes, before)
    other = perturbed(data, before)
    all_say(same_objects(before, other), SAME_REFERENTS, nodes, other)
    for node in nodes:
        if data.draw(st.booleans()):
            change(node, ATOMS[data.draw(atoms)])
            all_say(same_objects(gc.get_referents(*nodes), before), SAME_REFERENTS, nodes, before)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
@pytest.mark.parametrize("subclasses", [False, True])
def test_keys(subclasses, data):
    makers, functions = (DICTS_OF_ALL_KINDS, SAME_KEYS[1:]) if subclasses else (DICTS, SAME_KEYS)
    dicts = make(makers, data.draw(made_by(makers, 70)))

    def now():
        return list(chain.from_iterable(map(dict.__iter__, dicts)))

    before = now()
    all_say(True, functions, dicts, before)
    other = perturbed(data, before)
    all_say(same_objects(before, other), functions, dicts, other)
    for each in dicts[:8]:
        if data.draw(st.booleans()):
            change(each, ATOMS[data.draw(atoms)])
            all_say(same_objects(now(), before), functions, dicts, before)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    drawn=st.lists(atoms, max_size=12),
    start=st.integers(0, 14),
    count=st.integers(0, 14),
    subclass=st.booleans(),
    data=st.data(),
)
def test_items(drawn, start, count, subclass, data):
    items = [ATOMS[n] for n in drawn]
    node, other = HostileList(items) if subclass else list(items), perturbed(data, items)
    a, b = items[start : start + count], other[start : start + count]
    all_say(len(a) == len(b) == count and same_objects(a, b), SAME_ITEMS, node, other, start, count)


@pytest.mark.parametrize("same", SAME_ITEMS)
def test_items_beyond_all_bounds(same):
    items = [1, 2, 3]
    assert same(items, items, 0, 3)
    assert same(items, items, 3, 0)
    assert not same(items, items, 0, 4)
    assert not same(items, items, sys.maxsize, 1)
    assert not same(items, items, 1, sys.maxsize)
    assert not same(items, items, sys.maxsize, sys.maxsize)
    assert not same([], [], 0, 1)
    for start, count in ((-1, 1), (1, -1), (-1, -1), (-sys.maxsize - 1, 0)):
        with pytest.raises(ValueError, match="must not be negative"):
            same(items, items, start, count)


SAME_ENTRIES = [compare._same_entries, *([compiled.same_entries] if compiled else [])]


def in_parts(same, node, keys, values, parts):
    """What is said of one part after the other, up to the first that differs."""
    start = at = 0
    said = []
    for count in parts:
        at = same(node, keys, values, start, at, count)
        said.append(at >= 0)
        if at < 0:
            break
        start += count
    return said


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 30), atoms), max_size=24),
    gone=st.sets(st.integers(0, 30)),
    parts=st.lists(st.integers(0, 7), max_size=9),
    kind=st.sampled_from([dict, OrderedDict, hostile(dict)]),
    data=st.data(),
)
def test_entries(drawn, gone, parts, kind, data):
    node = kind()
    for number, atom in drawn:
        dict.__setitem__(node, f"key {number}", ATOMS[atom])
    for number in gone:  # leaves holes in the table
        dict.pop(node, f"key {number}", None)
    keys, values = list(dict.__iter__(node)), list(dict.values(node))
    others = [(keys, values), (perturbed(data, keys), values), (keys, perturbed(data, values))]
    for k, v in others:
        expected, start = [], 0
        for count in parts:
            end = start + count
            now = keys[start:end], values[start:end]
            before = k[start:end], v[start:end]
            expected.append(
                all(len(part) == count for part in (*now, *before)) and all(map(same_objects, now, before))
            )
            if not expected[-1]:
                break
            start = end
        for same in SAME_ENTRIES:
            assert in_parts(same, node, k, v, parts) == expected


@pytest.mark.parametrize("same", SAME_ENTRIES)
def test_entries_beyond_all_bounds(same):
    node = {"a": 1, "b": 2}
    keys, values = list(node), list(node.values())
    at = same(node, keys, values, 0, 0, 2)
    assert at > 0
    assert same(node, keys, values, 2, at, 0) == at
    assert same(node, keys, values, 0, 0, 3) == same(node, keys, values, 0, sys.maxsize, 1) == -1
    assert same(node, keys, [], 0, 0, 1) == same(node, keys, values, sys.maxsize, 0, sys.maxsize) == -1
    node.clear()
    assert same(node, keys, values, 0, 0, 1) == same(node, keys, values, 1, 1, 1) == -1
    for numbers in ((-1, 0, 0), (0, -1, 0), (0, 0, -1)):
        with pytest.raises(ValueError, match="must not be negative"):
            same(node, keys, values, *numbers)


@pytest.mark.parametrize("same", SAME_ENTRIES)
def test_a_table_made_anew_between_two_parts_leads_nowhere_else(same):
    node = {n: str(n) for n in range(1_000)}
    keys, values = list(node), list(node.values())
    at = same(node, keys, values, 0, 0, 900)
    for n in range(990):
        del node[n]
    for n in range(2_000, 2_990):  # made anew: what lies at the place is something else
        node[n] = str(n)
    assert same(node, keys, values, 900, at, 100) == -1


def test_the_collector_visits_a_list_or_does_not():
    items = ["a", "b"]
    for whether in (False, False, True, True, False):
        compare.track(items, whether)
        assert gc.is_tracked(items) is (whether or not compare.COMPILED)
        gc.collect()
    assert items + items[:1] == ["a", "b", "a"]
    items.append("c")
    del items


WRONG = [
    ("track", ([],)),
    ("track", ((), True)),
    ("track", ([], 1)),
    ("track", (type("L", (list,), {})(), True)),
    ("same_entries", ({}, [], [], 0, 0)),
    ("same_entries", ([], [], [], 0, 0, 0)),
    ("same_entries", ({}, (), [], 0, 0, 0)),
    ("same_entries", ({}, [], (), 0, 0, 0)),
    ("same_entries", ({}, [], [], 0, None, 0)),
    ("same_entries", ({}, [], [], 0, 0, Hostile())),
    ("same_referents", ()),
    ("same_referents", ((),)),
    ("same_referents", ([], [])),
    ("same_referents", ((), ())),
    ("same_referents", (None, None)),
    ("same_referents", ((), [], ())),
    ("same_keys", ()),
    ("same_keys", (({},), ("a",))),
    ("same_keys", ([{}], [])),
    ("same_keys", (({}, None), [])),
    ("same_keys", (([],), [])),
    ("same_items", ([], [])),
    ("same_items", ([], [], 0)),
    ("same_items", ((), [], 0, 0)),
    ("same_items", ([], (), 0, 0)),
    ("same_items", ([], [], None, 0)),
    ("same_items", ([], [], 0, "1")),
    ("same_items", ([], [], 0.0, 1)),
    ("same_items", ([], [], Hostile(), 0)),
    ("same_items", ([], [], 0, 0, 0)),
    ("find", ([], None, 0)),
    ("find", ((), None, 0, 0)),
    ("find", ([], None, None, 0)),
    ("find", ([], None, 0, 1.0)),
    ("find", ([], None, Hostile(), 0)),
]


def test_wrong_arguments_are_refused():
    Hostile.armed = True
    for name, args in WRONG if compiled else ():
        with pytest.raises(TypeError):
            getattr(compiled, name)(*args)
        with pytest.raises(TypeError):
            getattr(compiled, name)(nodes=(), before=[])


def test_numbers_beyond_a_machine_word_are_refused():
    for start, count in ((2**70, 1), (1, 2**70), (-(2**70), 0), (2**70, None)) if compiled else ():
        with pytest.raises(OverflowError):
            compiled.same_items([1], [1], start, count)


FIND = [compare._find, *([compiled.find] if compiled else [])]


@pytest.mark.parametrize("find", FIND)
def test_an_object_is_found_where_it_lies(find):
    Hostile.armed = True
    wanted, other = Hostile(), Hostile()
    items = [other, wanted, None, wanted]
    assert [find(items, wanted, start, 9) for start in range(5)] == [1, 1, 3, 3, -1]
    assert [find(items, wanted, 0, stop) for stop in (-1, 0, 1, 2, 2**40)] == [-1, -1, -1, 1, 1]
    assert find([], wanted, 0, 0) == find(items, wanted, 7, 9) == find(items, wanted, 3, 2) == -1
    with pytest.raises(ValueError, match="negative"):
        find(items, wanted, -1, 4)


def counted(objects):
    return [sys.getrefcount(each) for each in objects]


def test_no_reference_is_kept():
    value, key = object(), "".join(["k", "ey"])
    node, other = {key: value}, [value, value]
    dicts, nodes = (node,), (node, other)
    referents, keys, items = gc.get_referents(*nodes), [key], [value, object()]
    everything = [value, key, node, other, dicts, nodes, referents, keys, items, None, True, False]
    calls = [
        *((same, nodes, given) for same in SAME_REFERENTS for given in (referents, referents[:1], keys)),
        *((same, dicts, given) for same in SAME_KEYS for given in (keys, [], items)),
        *(
            (same, other, items, *numbers)
            for same in SAME_ITEMS
            for numbers in ((0, 1), (0, 2), (1, 5), (0, 0))
        ),
    ]
    wrong = [(getattr(compiled, name), args) for name, args in WRONG] if compiled else []

    def call():  # a function, whose variables hold on to nothing afterwards
        for function, *args in calls:
            function(*args)
        for function, args in wrong:
            try:
                function(*args)
            except TypeError:
                pass

    before = counted(everything)
    for _ in range(500):
        call()
    # None and the booleans belong to everybody, other threads too.
    assert [abs(b - a) < 100 for a, b in zip(before, counted(everything), strict=True)] == [True] * len(
        everything
    )
    assert counted(everything)[:-3] == before[:-3]


GUARDED = """
import sys, types
from stateguard import Guard
from stateguard.watch import compare
from stateguard.wsgi import StateGuardMiddleware
shop = sys.modules["shop"] = types.ModuleType("shop")
shop.HISTORY, shop.USERS, shop.MANY = [], {"ann": 1}, [None] * 40_000
def application(environ, start_response):
    shop.HISTORY.append("ann"), shop.USERS.update(bob=2), shop.MANY.append("ann")
    start_response("200 OK", [])
    return [b"hello"]
guard = Guard(watch=["shop"], on_leak=lambda leak: None, budget=1)
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}
list(StateGuardMiddleware(application, guard=guard)(environ, lambda *_: None))
print(compare.COMPILED, *sorted({leak.path.split("[")[0] for leak in guard.leaks}))
"""


def run(program, pure):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "STATEGUARD_PURE": pure},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("pure", ["", "1"])
def test_leaks_are_found_with_compiled_parts_and_without(pure):
    assert run(GUARDED, pure) == f"{bool(compiled) and not pure} shop.HISTORY shop.MANY shop.USERS"
