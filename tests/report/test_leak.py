"""Leaks and their parts are values: immutable, compared and shown by what they hold."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace

import pytest

from stateguard.leak import Frame, Leak, Location, RequestInfo

WHO = RequestInfo("r-1", "http", "GET", "/chat", started=1.5)
WHERE = Location("app.py", 3, "chat", stack=(Frame("app.py", 3, "chat"),))
LEAK = Leak(
    "app.LOG",
    "appended",
    "high",
    "grows",
    WHO,
    "exact",
    (),
    WHERE,
    "list of 0",
    "list of 1",
    "a",
    "b",
    time=2.5,
)


@pytest.mark.parametrize("value", [LEAK, WHO, WHERE, WHERE.stack[0]], ids=lambda value: type(value).__name__)
def test_a_value(value):
    assert is_dataclass(value)
    for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)), replace(value)):
        assert twin is not value
        assert twin == value
        assert hash(twin) == hash(value)
        assert repr(twin) == repr(value)
    first = fields(value)[0].name
    other = replace(value, **{first: "other"})
    assert other != value
    assert other != asdict(other)
    assert {other, value, replace(value)} == {other, value}
    with pytest.raises(FrozenInstanceError):
        setattr(value, first, "other")
    with pytest.raises(FrozenInstanceError):
        delattr(value, first)


def test_what_it_looks_like():
    assert repr(WHERE.stack[0]) == "Frame(file='app.py', line=3, function='chat', source='')"
    assert repr(LEAK).startswith(
        "Leak(path='app.LOG', kind='appended', severity='high', reason='grows', request=Req"
    )
    assert LEAK.to_dict()["location"]["stack"] == (
        {"file": "app.py", "line": 3, "function": "chat", "source": ""},
    )


def test_other_kinds_with_the_same_content_are_not_equal():
    class Special(Frame):
        __slots__ = ()

    assert Special("a", 1, "f") == Special("a", 1, "f")
    assert Special("a", 1, "f") != Frame("a", 1, "f")
