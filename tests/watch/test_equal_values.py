"""What is replaced by something equal has not changed; what differs anywhere has."""

from __future__ import annotations

import sys
import types
import weakref
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from stateguard import Guard
from stateguard.watch.digest import PARTLY
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
    "moments": lambda: [datetime(2020, 1, n, tzinfo=UTC) for n in range(1, 28)] + [date(2020, 1, 1), time(3)],
    "numbers": lambda: Made(price=Decimal("1.5"), of=[UUID(int=3), timedelta(5)], at=ZoneInfo("UTC")),
    "zones": lambda: [datetime(2020, 1, 1, tzinfo=ZoneInfo.no_cache("UTC"))],
    "many objects": lambda: [Made(n=n) for n in range(2_000)],
    "a set of moments": lambda: {datetime(2020, 1, n) for n in range(1, 28)},
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
    elif isinstance(fresh, set):
        state.HELD.clear()
        state.HELD.update(fresh)
    else:
        state.HELD.__dict__.update(fresh.__dict__)
    assert told(watcher) == []


OTHERS = [
    (lambda: deque([1], maxlen=3), lambda: deque([1], maxlen=4)),
    (lambda: {datetime(2020, 1, 1)}, lambda: {datetime(2021, 1, 1)}),
    (lambda: [datetime(2020, 1, 1, tzinfo=UTC)], lambda: [datetime(2020, 1, 1)]),
    (lambda: Made(price=Decimal("1.5")), lambda: Made(price=Decimal("1.50"))),
    (lambda: [UUID(int=1)], lambda: [UUID(int=2)]),
    (lambda: [Made(a={"x"}, n=n) for n in range(90)], lambda: [Made(a={"x"}, n=n or 1) for n in range(90)]),
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


@pytest.mark.parametrize("last", [1, 2])
def test_a_set_whose_element_differs_behind_what_goes_into_a_hash_is_told(state, last):
    class Record:
        def __init__(self, n):
            self.n = n

    Record.__module__ = MODULE
    make = lambda last: (*(Record(n) for n in range(200)), Record(last))  # noqa: E731
    state.HELD = {make(1)}
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD.clear()
    state.HELD.add(make(last))
    assert told(watcher) == [("HELD", "replaced")] * (last == 2)


def test_a_hash_says_whether_all_is_in_it(state):
    watcher = Watcher([MODULE], process=False)
    digest = watcher.digester.digest
    assert len(digest([1, {"a": (2.5, None)}])) == 12
    small, large = [{"tags": {n}} for n in range(20)], [{"tags": {n}} for n in range(2_000)]
    assert len(digest(small)) == 12
    assert digest(large).endswith(PARTLY)
    assert digest("x" * 10**7) == digest("".join(["x"] * 10**7))
    assert digest(["x" * 10**6 for _ in range(100)]).endswith(PARTLY)


def test_a_long_text_is_compared_to_its_end(state):
    text = "x" * 10**6
    state.HELD = {"a": {"text": text + "1"}, "b": {(1,): text + "1"}, "c": [text.encode() + b"1"]}
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD.update(a={"text": text + "1"}, b={(1,): text + "1"}, c=[text.encode() + b"1"])
    assert told(watcher) == []
    state.HELD.update(a={"text": text + "2"}, b={(1,): text + "2"}, c=[text.encode() + b"2"])
    assert [path for path, _ in told(watcher)] == ["HELD['a']", "HELD['b']", "HELD['c']"]


def test_attributes_in_a_dictionary_of_ones_own_are_read_without_asking_it(state):
    class Own(dict):
        def asked(self, *args):
            raise RuntimeError("nobody may ask")

        __len__ = __iter__ = __getitem__ = keys = items = values = __contains__ = __bool__ = asked

    class Items(list):
        pass

    watcher = Watcher([MODULE], process=False)
    for made in (Made(), Items()):
        made.__dict__ = Own(a=1, b=[2])
        assert len(watcher.digester.digest([made])) == 12
        assert watcher.digester.same([made], [made])


@pytest.mark.parametrize(("records", "restored"), [(3, True), (300, False)])
def test_only_what_has_gone_into_a_hash_as_a_whole_counts_as_put_back(state, records, restored):
    def make(last):
        return [{"id": n, "tags": {"a"}} for n in range(records)] + [{"id": last, "tags": {"a"}}]

    state.HELD = make(1)
    guard = Guard(watch=[MODULE], process=False)
    try:
        guard.start()
        with guard.request("one"):
            state.HELD = make(2)
            guard.engine.look_within()
            state.HELD = make(1 if restored else 3)
        assert [leak.restored for leak in guard.leaks][-1] is restored
    finally:
        guard.close()


def test_a_large_set_that_is_filled_anew_with_equal_elements_is_not_told(state):
    def elements():
        return [f"element {i}" for i in range(20_000)] + [(i, f"{i}") for i in range(3_000)]

    state.HELD = set(elements())
    watcher = Watcher([MODULE], process=False)
    watcher.start()
    state.HELD.clear()
    state.HELD.update(elements())
    assert told(watcher) == []
    state.HELD.clear()
    state.HELD.update(elements()[:-1], ["another"])
    assert told(watcher) == [("HELD", "replaced")]
