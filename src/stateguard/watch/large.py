"""One list or dictionary of very many entries: looked at by its end, and in parts.

A leak that grows is written to in nearly every request, and comparing all of it each time would cost more
with each. So a glance at it compares its length and its last entry: what has been added to its end is taken
in at a cost that does not depend on its size. Everything else that happens to it is found when its turn in
the round comes, a part at a time.
"""

from __future__ import annotations

import gc
from itertools import islice
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.watch.block import Block
from stateguard.watch.compare import same_entries, same_items, same_referents, track, types_of
from stateguard.watch.content import Content, referents
from stateguard.watch.kinds import Kind, TypeInfo, is_visited

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS = 16
"""Entries at the beginning, and at the end, that stand for all when growth is told: what a hash samples."""

MOST = 65_536
"""Entries by which it may have grown to be taken in at a glance."""

PART = 4096
"""Entries that are compared between two looks at the clock."""


def _is_any_visited(objects: list[Any]) -> bool:
    return any(map(is_visited, types_of(objects)))


class Growth:
    """What has come to the end."""

    __slots__ = ("keys", "values")

    def __init__(self, values: list[Any], keys: list[Any]) -> None:
        self.values = values
        self.keys = keys


def suits(info: TypeInfo) -> bool:
    """Whether a node is of a kind that can be looked at so."""
    return info.exact and info.only is None and (info.kind is Kind.LIST or info.kind is Kind.DICT)


class Large(Block):
    """A block of one node. A list's references lie in the order of the list, not in that of the collector."""

    __slots__ = ("_at", "_place")

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        """How many entries of the round have been compared."""
        self._place = 0
        """Where in a dictionary's table the next one lies."""

    @property
    def full(self) -> bool:
        """Always: nothing else is to lie here."""
        return True

    @property
    def ordered(self) -> bool:
        """Whether what is kept are the node's values, each with its key if it has one."""
        return not self._odd and (self.infos[0].kind is Kind.LIST or len(self._keys) == len(self.refs))

    def clean(self, keys: bool = True) -> bool:
        """As of any block."""
        if self._stale:
            self.seal()
        if not len(self):
            return True
        node, n = self.nodes[0], len(self.refs)
        if self.infos[0].kind is not Kind.LIST:
            same = same_referents((node,), self.refs)
        else:
            same = list.__len__(node) == n and same_items(node, self.refs, 0, n)
        return same and (not (keys and self._keyed) or self._same_keys())

    def changed(self) -> Iterator[tuple[int, list[Any]]]:
        """As of any block."""
        if not self.clean():
            yield 0, referents(self.nodes[0])

    def content(self, i: int) -> Content:
        """As of any block."""
        if self.infos[i].kind is Kind.LIST or not self.ordered:
            return self._odd.get(i) or Content(self.refs, plain=True)
        return Content(self.refs, self._keys, plain=True)

    def replace(self, i: int, refs: list[Any], content: Content) -> None:
        """As of any block."""
        plain = content.plain
        if self.infos[i].kind is Kind.LIST:
            refs = content.values
        keys = content.keys or []
        if keys and len(refs) == 2 * len(keys):  # not only strings for keys: they are among the references
            plain, keys = False, []
        self.refs, self._keys = refs, keys
        self._starts[1], self._kstarts[1] = len(refs), len(keys)
        self._odd.clear()
        if not plain:
            self._odd[i] = content
        # Each collection that comes upon a list of a million strings would take as long as comparing it.
        for kept in (self.refs, self._keys):
            if kept and not _is_any_visited(kept):
                track(kept, False)
        self._stale, self._at, self._place = True, 0, 0

    # -- at a glance -----------------------------------------------------------------------------

    def grown(self) -> Growth | None:
        """What has come to the end; ``None`` if that is not all, as far as the end and the length show."""
        node, n = self.nodes[0], len(self.refs)
        if not n or not self.ordered:
            return None
        if self.infos[0].kind is Kind.LIST:
            end = list.__getitem__(node, slice(n - 1, n + MOST))
            if not end or end[0] is not self.refs[-1] or len(end) > MOST:
                return None
            return Growth(end[1:], [])
        more = dict.__len__(node) - n
        if not 0 <= more < MOST:
            return None
        try:
            keys = list(islice(dict.__reversed__(node), more + 1))
            values = list(islice(reversed(dict.values(node)), more + 1))
        except RuntimeError:  # another thread is changing it
            return None
        if dict.__len__(node) - n != more or not len(keys) == len(values) == more + 1:
            return None
        if keys[-1] is not self._keys[-1] or values[-1] is not self.refs[-1]:
            return None
        return Growth(values[-2::-1] if more else [], keys[-2::-1] if more else [])

    def extend(self, growth: Growth) -> tuple[Content, Content]:
        """Take in what has come; what it held before and holds now, by its ends."""
        before = self._ends(ENDS)
        for kept, more in ((self.refs, growth.values), (self._keys, growth.keys)):
            if more and not gc.is_tracked(kept) and _is_any_visited(more):
                track(kept, True)
            kept.extend(more)
        self._starts[1], self._kstarts[1] = len(self.refs), len(self._keys)
        return before, self._ends(ENDS + len(growth.values))

    def _ends(self, last: int) -> Content:
        gap = len(self.refs) - ENDS - last
        keys = None
        if self.infos[0].kind is Kind.DICT:
            keys = self._keys[:ENDS] + self._keys[-last:]
        return Content(self.refs[:ENDS] + self.refs[-last:], keys, gap=gap)

    # -- in parts --------------------------------------------------------------------------------

    def go_on(self, until: int) -> bool | None:
        """Compare it until the clock (``perf_counter_ns``) shows ``until``. ``None``: there is more to do."""
        if not self.ordered:
            return self.clean()
        try:
            while self._same_length():
                if not self._same_part(min(PART, len(self.refs) - self._at)):
                    break
                if self._at >= len(self.refs):
                    self._at = self._place = 0
                    return True
                if perf_counter_ns() >= until:
                    return None
        except RuntimeError:  # another thread is changing it
            pass
        self._at = self._place = 0
        return False

    def _same_length(self) -> bool:
        node = self.nodes[0]
        now = list.__len__(node) if self.infos[0].kind is Kind.LIST else dict.__len__(node)
        return now == len(self.refs)

    def _same_part(self, count: int) -> bool:
        """Whether the next so many entries are as they were: then it goes on behind them."""
        node = self.nodes[0]
        if self.infos[0].kind is Kind.LIST:
            same = same_items(node, self.refs, self._at, count)
        else:
            place = same_entries(node, self._keys, self.refs, self._at, self._place, count)
            self._place = max(place, 0)
            same = place >= 0
        self._at += count
        return same
