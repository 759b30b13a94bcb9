"""Hashes of what a container held and holds: bounded in cost, and the same however they are made."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateguard.watch.digest import FEW, HASHED, HUGE, ITEMS, Digester
from stateguard.watch.kinds import TypeTable
from stateguard.watch.watcher import Watcher

MODULE = "tests.watch.hashes"

plain = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def digester() -> Digester:
    return Digester(TypeTable(lambda module: False, {}))


@given(st.lists(plain, max_size=12), st.lists(plain, max_size=4), st.data())
def test_what_is_known_changes_no_hash(items: list[Any], more: list[Any], data: Any) -> None:
    repeated = items + [data.draw(st.sampled_from(items)) for _ in range(3) if items]
    known: dict[int, tuple[bytes, int]] = {}
    made = digester()
    for values in (repeated, repeated + more, repeated[1:]):
        assert made.digest_parts("list", values, known=known) == made.digest_parts("list", values)


@pytest.mark.parametrize("size", [HASHED // 8, HASHED // 4, HASHED])
def test_nor_where_not_all_of_it_goes_in(size: int) -> None:
    heavy = [[i] * (size // 4) for i in range(20)]  # each of which takes its share of what may go in
    known: dict[int, tuple[bytes, int]] = {}
    made = digester()
    for values in (heavy, heavy[3:], [0, *heavy], heavy[::-1]):
        assert made.digest_parts("list", values, known=known) == made.digest_parts("list", values)


@pytest.mark.parametrize("size", [3, ITEMS, ITEMS + 1, HUGE, HUGE + 1])
def test_a_hash_looks_at_both_ends_and_at_the_length(size: int) -> None:
    made = digester()
    values = [f"item {i}" for i in range(size)]
    told = made.digest_parts("list", values)
    assert told == made.digest_parts("list", list(values))
    for changed in ([*values, "more"], values[1:], ["other", *values[1:]], [*values[:-1], "other"]):
        assert made.digest_parts("list", changed) != told
        assert made.digest(changed) != made.digest(values)
    if size > HUGE:  # what is told of growth by the ends alone
        half = FEW // 2
        ends = values[:half] + values[-half:]
        assert made.digest_parts("list", ends, gap=size - 2 * half) == told


@pytest.mark.parametrize("there", [0, 1, 100, HUGE + 1])
def test_many_new_entries_are_told_of_as_one_change(there: int) -> None:
    module = types.ModuleType(MODULE)
    state: dict[Any, Any] = {f"key {i}": i for i in range(there)}
    module.STATE = state  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    try:
        watcher = Watcher([MODULE], process=False)
        watcher.start()
        state.update({("new", i): f"value {i}" for i in range(50)})
        (seen,) = watcher.check()
        assert (seen.path, seen.change.kind) == (f"{MODULE}.STATE", "added")
        assert seen.change.after == f"dict of {there + 50:,} keys"
        assert len(seen.change.came) == 50
        assert seen.change.before_hash != seen.change.after_hash
        assert watcher.check() == []
    finally:
        del sys.modules[MODULE]
