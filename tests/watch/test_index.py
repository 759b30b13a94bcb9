"""The index of blocks by address behaves as a dictionary of ids would."""

from __future__ import annotations

import random

from stateguard.watch.block import Block
from stateguard.watch.index import Index
from stateguard.watch.kinds import TypeTable


class Thing:
    __slots__ = ()


def test_it_is_a_dictionary_of_ids():
    rng = random.Random(5)
    kinds = (
        list,
        dict,
        set,
        Thing,
        object,
        lambda: [0] * 50,
        lambda: bytearray(5000),
        lambda: type("T", (), {}),
    )
    objects = [rng.choice(kinds)() for _ in range(3_000)] + [int, TypeTable, Thing, Block]
    blocks = [Block() for _ in range(7)]
    index, plain = Index(), {}
    for _ in range(20_000):
        key = id(rng.choice(objects))
        if rng.random() < 0.6:
            index[key] = plain[key] = rng.choice(blocks)
        else:
            assert index.pop(key) is plain.pop(key, None)
        assert len(index) == len(plain)
    for obj in objects:
        assert index.get(id(obj)) is plain.get(id(obj))
        assert (id(obj) in index) == (id(obj) in plain)
    assert set(index) == {key & ~15 for key in plain}
    assert index.memory() > 0
    for key in list(plain):
        index.pop(key)
    assert not len(index)
    assert not index._pages
