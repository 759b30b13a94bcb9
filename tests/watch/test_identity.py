"""Whether objects still refer to the same: compiled or not, the answer is that of the collector's list."""

from __future__ import annotations

import asyncio
import collections
import functools
import gc
import random
import types

import pytest

from stateguard.watch import compare


class Plain:
    """Has a dictionary, made or not."""


class Slotted:
    __slots__ = ("a", "b")


def _kinds(loop):
    return [
        list,
        dict,
        set,
        Plain,
        Slotted,
        collections.deque,
        collections.OrderedDict,
        loop.create_future,
        lambda: functools.partial(print),
        lambda: types.FunctionType((lambda: None).__code__, {}),
        lambda: 5,
        lambda: (object(), []),
        lambda: int,
    ]


def _change(node, r, value):
    match node:
        case list() | collections.deque():
            node.append(value)
        case dict():
            node[r.choice("abc")] = value
        case set():
            node.add(value)
        case _ if hasattr(node, "__dict__") and not isinstance(node, type):
            setattr(node, r.choice("abc"), value)
        case Slotted():
            setattr(node, r.choice("ab"), value)


def test_an_attribute_that_is_added_differs_whatever_traverses_it():
    """A future's traverse function goes on after what should end it."""
    loop = asyncio.new_event_loop()
    try:
        nodes = (loop.create_future(), [object()])
        before = gc.get_referents(*nodes)
        assert compare.same_referents(nodes, before)
        nodes[0].added = object()
        assert compare.same_referents(nodes, before) == (len(gc.get_referents(*nodes)) == len(before))
    finally:
        loop.close()


def test_random_changes_are_told_as_the_collector_tells_them():
    r = random.Random(1)
    loop = asyncio.new_event_loop()
    try:
        kinds = _kinds(loop)
        told = set()
        for _ in range(3000):
            nodes = tuple(r.choice(kinds)() for _ in range(r.randint(0, 5)))
            for node in nodes:
                if r.random() < 0.5:
                    _change(node, r, object())
            before = gc.get_referents(*nodes)
            if nodes and r.random() < 0.7:
                _change(r.choice(nodes), r, object())
            if before and r.random() < 0.2:
                before.pop(r.randrange(len(before)))
            now = gc.get_referents(*nodes)
            same = len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))
            assert compare.same_referents(nodes, before) == same
            told.add(same)
        assert told == {True, False}
    finally:
        loop.close()


def test_keys_and_items_are_told_by_identity():
    r = random.Random(2)
    for _ in range(500):
        dicts = tuple({object(): 1 for _ in range(r.randint(0, 4))} for _ in range(r.randint(0, 3)))
        keys = [key for one in dicts for key in one]
        assert compare.same_keys(dicts, keys)
        assert not compare.same_keys(dicts, [*keys, object()])
        if keys:
            assert not compare.same_keys(dicts, keys[:-1])
            assert not compare.same_keys(dicts, [object(), *keys[1:]])
        node = [object() for _ in range(r.randint(1, 40))]
        start = r.randrange(len(node))
        count = r.randint(1, len(node) - start)
        assert compare.same_items(node, list(node), start, count)
        assert not compare.same_items(node, [object() for _ in node], start, count)
        assert not compare.same_items(node, list(node), start, len(node) - start + 1)


def test_wrong_arguments_are_errors():
    if not compare.COMPILED:
        return
    for wrong in [(), ((),), ([], []), ((), ()), ((), [], [])]:
        with pytest.raises(TypeError):
            compare.same_referents(*wrong)
        with pytest.raises(TypeError):
            compare.same_keys(*wrong)
    with pytest.raises(TypeError):
        compare.same_keys((5,), [])
    for wrong in [([], []), ([], (), 0, 0), ((), [], 0, 0), ([], [], "0", 0), ([], [], 0.0, 0)]:
        with pytest.raises(TypeError):
            compare.same_items(*wrong)
    for start, count in [(-1, 0), (0, -1)]:
        with pytest.raises(ValueError, match="negative"):
            compare.same_items([1], [1], start, count)
    assert not compare.same_items([1], [1], 2**62, 2**62)
