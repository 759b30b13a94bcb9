"""A block: up to a thousand nodes whose references are compared in one C-speed pass.

The nodes' references lie in one flat list, their keys in another (a dictionary with string keys does not
report its keys as references). Holding the references also keeps addresses from being used again between
two checks, which is what makes comparing by identity sound.
"""

from __future__ import annotations

import operator
import sys
from array import array
from bisect import bisect_left, bisect_right
from itertools import chain, compress, repeat
from typing import TYPE_CHECKING, Any

from stateguard.watch.compare import (
    COMPILED,
    between,
    find,
    identical,
    same_keys,
    same_referents,
    same_run,
    shift,
)
from stateguard.watch.content import Content, Unsettled, in_order, referents, settled
from stateguard.watch.keys import keys_of, padded
from stateguard.watch.kinds import Kind, TypeInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HOLE: tuple[()] = ()
"""Takes the place of a node that is gone; it has no references."""

_HOLE_INFO = TypeInfo(tuple, Kind.TUPLE)

END = object()
"""Ends the references of a node that may grow or shrink. Without it, what moves from the end of one node to
the beginning of the next would leave the flat list as it was."""

_ENDER = (END,)
"""Has :data:`END` as its only reference: put after such a node among those whose references are asked for."""

_GROWING = frozenset(
    {Kind.LIST, Kind.DEQUE, Kind.DICT, Kind.ORDERED, Kind.SET, Kind.CELL, Kind.CACHE, Kind.GENERATOR}
)

CAPACITY = 1024
"""Nodes per block: large enough to make a check cheap, small enough to make a change cheap to absorb."""

FEW = 64 if COMPILED else 8
"""Nodes that are forgotten one by one; more of them in one pass through their block."""

LARGE = 4096
"""A node with more references than this has a block of its own."""


def _around(now: list[Any], before: list[Any], starts: array[int]) -> range:
    """The nodes between the first and the last difference of two flat lists, ``starts`` saying where the
    second has each node's part. A node without a part, right at the edge, may have got one.
    """
    start, end = between(now, before)
    if start == len(before) == len(now):
        return range(0)
    first = bisect_left(starts, start, 1) - 1
    return range(first, min(bisect_right(starts, len(before) - end), len(starts) - 1))


_IS_EXACT = operator.attrgetter("exact")


class Block:
    """Nodes, what they referred to when last looked at, and where each is known from."""

    __slots__ = (
        "_args",
        "_dead",
        "_ended",
        "_has_subclasses",
        "_keyed",
        "_keys",
        "_kstarts",
        "_odd",
        "_stale",
        "_starts",
        "free",
        "infos",
        "nodes",
        "parents",
        "refs",
        "resumed",
        "soften",
    )

    def __init__(self, soften: Callable[[list[Any]], list[Any]] | None = None) -> None:
        self.nodes: list[Any] = []
        self.infos: list[TypeInfo] = []
        self.parents: list[Any] = []
        self.refs: list[Any] = []
        self.free: list[int] = []
        self.resumed = 0
        """The first node that the latest look at the nodes had no time for; 0 if it had for all."""
        # References that must not be held (see TypeInfo.tender) are kept as stand-ins, at a cost per check.
        self.soften = soften
        self._starts = array("I", (0,))
        self._kstarts = array("I", (0,))
        self._ended = bytearray()
        self._keys: list[Any] = []
        self._odd: dict[int, Content] = {}
        self._args: tuple[Any, ...] = ()
        self._keyed: tuple[Any, ...] = ()
        self._has_subclasses = False
        self._stale = False
        self._dead: list[int] = []

    def __len__(self) -> int:
        return len(self.nodes) - len(self.free) - len(self._dead)

    @property
    def full(self) -> bool:
        """Whether no node can be added."""
        return not self.free and (len(self.nodes) >= CAPACITY or len(self.refs) > LARGE)

    # -- looking ---------------------------------------------------------------------------------

    def seal(self) -> None:
        """Prepare the next checks after nodes came or went."""
        if self._dead:
            self._compact()
        if 1 in self._ended:
            each = chain.from_iterable(zip(self.nodes, repeat(_ENDER), strict=False))
            self._args = tuple(
                compress(each, chain.from_iterable(zip(repeat(True), self._ended, strict=False)))
            )
        else:
            self._args = tuple(self.nodes)
        keyed = list(map(operator.lt, self._kstarts, self._kstarts[1:]))
        self._has_subclasses = not all(map(_IS_EXACT, compress(self.infos, keyed)))
        self._keyed = tuple(compress(self.nodes, keyed))
        if not self._has_subclasses:
            self._keyed = padded(self._keyed)
        self._stale = False

    def _now(self) -> list[Any]:
        refs = referents(*self._args)
        return refs if self.soften is None else self.soften(refs)

    def _keys_now(self) -> list[Any]:
        # Compiled, keys are listed only where they differ: not worth a function that would have to be made.
        if self._has_subclasses or COMPILED:
            return list(chain.from_iterable(map(dict.__iter__, self._keyed)))
        return keys_of(self._keyed)

    def clean(self, keys: bool = True) -> bool:
        """Whether every node still refers to the same objects; with ``keys``, under the same keys."""
        if self._stale:
            self.seal()
        if self.soften is not None:
            if not identical(self._now(), self.refs):
                return False
        elif not same_referents(self._args, self.refs):
            return False
        return not (keys and self._keyed) or self._same_keys()

    def _same_keys(self) -> bool:
        try:
            if self._has_subclasses and not COMPILED:
                return identical(self._keys_now(), self._keys)
            return same_keys(self._keyed, self._keys)
        except RuntimeError:  # another thread is changing one of them
            return False

    def changed(self) -> Iterator[tuple[int, list[Any]]]:
        """The positions of the nodes that differ, each with its references now."""
        if self._stale:
            self.seal()  # nodes have come or gone since it was found to differ
        now = self._now()
        if len(self.nodes) == 1:
            found = [] if self.nodes[0] is HOLE or identical(now, self.refs) else [(0, now)]
        else:
            found = list(self._differing(_around(now, self.refs, self._starts)))
        if self._keyed:
            seen = {i for i, _ in found}
            try:
                places = _around(settled(self._keys_now), self._keys, self._kstarts)
            except Unsettled:
                places = range(len(self.nodes))
            found += [(i, refs) for i, refs in self._renamed(places) if i not in seen]
            found += list(self._differing(self._beside([i for i, _ in found])))
        yield from found

    def _beside(self, found: list[int]) -> list[int]:
        """The nodes without keys around a dictionary that differs, as far as no end lies between: what has
        gone from the one and come to the other leaves the flat list as it was.
        """
        places: list[int] = []
        starts, ended = self._kstarts, self._ended
        known, done = set(found), 0
        for i in sorted(found):
            if i >= done and starts[i + 1] > starts[i]:
                last = ended.find(1, i)
                done = len(self.nodes) if last < 0 else last + 1
                span = range(ended.rfind(1, 0, i) + 1, done)
                places += [j for j in span if starts[j + 1] == starts[j] and j not in known]
        return places

    def _differing(self, places: Iterable[int]) -> Iterator[tuple[int, list[Any]]]:
        refs, starts = self.refs, self._starts
        for i in places:
            node = self.nodes[i]
            if node is HOLE:
                continue
            mine = self._referents(node)
            n = len(mine)
            if n != starts[i + 1] - starts[i] - self._ended[i] or not same_run(mine, 0, refs, starts[i], n):
                yield i, mine

    def _renamed(self, places: range) -> Iterator[tuple[int, list[Any]]]:
        """Those with other keys than before."""
        kstarts = self._kstarts
        for i in places:
            if kstarts[i + 1] > kstarts[i]:
                node = self.nodes[i]
                try:
                    keys = settled(lambda node=node: list(dict.__iter__(node)))  # type: ignore[misc]
                except Unsettled:
                    continue
                if not identical(keys, self._keys[kstarts[i] : kstarts[i + 1]]):
                    yield i, self._referents(node)

    def _referents(self, node: Any) -> list[Any]:
        refs = referents(node)
        return refs if self.soften is None else self.soften(refs)

    def memory(self) -> int:
        """Bytes that the block takes, the watched objects not included."""
        parts = (
            self.nodes,
            self.infos,
            self.parents,
            self.refs,
            self._args,
            self._keyed,
            self._keys,
            self._starts,
            self._kstarts,
            self._ended,
        )
        return sum(map(sys.getsizeof, parts))

    def position(self, node: Any) -> int:
        """Where a node of this block lies."""
        i = find(self.nodes, node, 0, len(self.nodes))
        if i < 0:
            raise ValueError("the node lies in another block")
        return i

    def refers(self, i: int, obj: Any) -> bool:
        """Whether ``obj`` is among the references of node ``i``."""
        stop = len(self.refs) if len(self.nodes) == 1 else self._starts[i + 1]
        return find(self.refs, obj, self._starts[i], stop) >= 0

    def referring(self, obj: Any) -> Iterator[int]:
        """The nodes that refer to ``obj``."""
        at = 0
        while True:
            at = find(self.refs, obj, at, len(self.refs))
            if at < 0:
                return
            i = 0 if len(self.nodes) == 1 else bisect_right(self._starts, at) - 1
            if self.nodes[i] is not HOLE:
                yield i
            at = len(self.refs) if len(self.nodes) == 1 else self._starts[i + 1]

    def is_plain(self, i: int) -> bool:
        """Whether node ``i`` is a list, or a dictionary with string keys: its references are its values."""
        info = self.infos[i]
        return (
            i not in self._odd
            and info.exact
            and info.only is None
            and (info.kind is Kind.LIST or info.kind is Kind.DICT)
        )

    def refs_of(self, i: int) -> list[Any]:
        """What node ``i`` referred to when last looked at."""
        if len(self.nodes) == 1:
            return self.refs
        return self.refs[self._starts[i] : self._starts[i + 1] - self._ended[i]]

    def held(self) -> tuple[object, ...]:
        """What :meth:`seal` makes anew, and holds nodes that may be gone."""
        return self._args, self._keyed

    def content(self, i: int) -> Content:
        """What node ``i`` held when last looked at."""
        odd = self._odd.get(i)
        if odd is not None:
            return odd
        values = self.refs
        if len(self.nodes) > 1:
            values = values[self._starts[i] : self._starts[i + 1] - self._ended[i]]
        info = self.infos[i]
        if info.kind is Kind.LIST and info.exact:
            return Content(in_order(values), plain=True)
        keys = None
        if info.kind is Kind.DICT:
            keys = self._keys[self._kstarts[i] : self._kstarts[i + 1]]
        return Content(values, keys, plain=True)

    # -- changing --------------------------------------------------------------------------------

    def add(self, node: Any, info: TypeInfo, parent: Any, refs: list[Any], content: Content) -> None:
        """Take in a node."""
        self._stale = True
        if self.free:
            i = self.free.pop()
            self.nodes[i], self.infos[i], self.parents[i] = node, info, parent
        else:
            i = len(self.nodes)
            if i == 1:
                self.refs = self.refs[:]  # of a single node it is shared with what was read of the node
            self.nodes.append(node)
            self.infos.append(info)
            self.parents.append(parent)
            self._starts.append(self._starts[-1])
            self._kstarts.append(self._kstarts[-1])
            self._ended.append(False)
            if i == 1:  # the first is alone no longer, and its references are no longer to be shared
                self.refs = list(self.refs)
                self._put(0, list(self.refs), bool(self._kstarts[1]))
        self.replace(i, refs, content)

    def replace(self, i: int, refs: list[Any], content: Content) -> None:
        """Note what node ``i`` refers to now."""
        if self.soften is not None:
            refs = self.soften(refs)
        keys: list[Any] = []
        keyed, ended = self._kstarts[i + 1] > self._kstarts[i], self._ended[i]
        if content.keys is not None and self.infos[i].kind is Kind.DICT:
            # A table with other than string keys reports keys and values: no second pass needed.
            general = self.infos[i].exact and len(refs) == 2 * len(content.keys)
            if not general:
                keys = content.keys
        self._put(i, refs, bool(keys))
        self._splice(self._keys, self._kstarts, i, keys)
        if content.plain and (content.keys is None or len(keys) == len(content.keys)):
            self._odd.pop(i, None)
        else:
            if self.soften is not None:
                content.values = self.soften(content.values)
            self._odd[i] = content
        if keyed != bool(keys) or ended != self._ended[i]:
            self._stale = True

    def retype(self, i: int, info: TypeInfo) -> None:
        """Node ``i`` is of another type from now on."""
        if self.infos[i] is not info:
            self.infos[i] = info
            self._stale = True

    def _put(self, i: int, refs: list[Any], keyed: bool) -> None:
        if len(self.nodes) == 1:
            self.refs = refs
            self._starts[1] = len(refs)
            return
        # A dictionary whose keys are compared as well needs no end: its keys have one with its neighbours'.
        ended = not keyed and self.infos[i].kind in _GROWING
        self._splice(self.refs, self._starts, i, [*refs, END] if ended else refs)
        self._ended[i] = ended

    @staticmethod
    def _splice(flat: list[Any], starts: array[int], i: int, part: list[Any]) -> None:
        begin, end = starts[i], starts[i + 1]
        flat[begin:end] = part
        if len(part) != end - begin:
            shift(starts, i + 1, len(part) - (end - begin))

    def append_plain(
        self, node: Any, info: TypeInfo, parent: Any, refs: list[Any], keys: list[Any] | None
    ) -> bool:
        """:meth:`add` for a list, or a dictionary with string keys, in a fraction of the time.

        Says whether it has: not where there are free places, or fewer than two nodes.
        """
        if self.free or len(self.nodes) < 2 or self.soften is not None:
            return False
        self.nodes.append(node)
        self.infos.append(info)
        self.parents.append(parent)
        flat = self.refs
        flat.extend(refs)
        ended = not keys
        if ended:
            flat.append(END)
        else:
            self._keys.extend(keys)  # type: ignore[arg-type]
        self._ended.append(ended)
        self._starts.append(len(flat))
        self._kstarts.append(len(self._keys))
        self._stale = True
        return True

    def remove(self, i: int) -> None:
        """Forget node ``i``. Its places are taken away by :meth:`seal`, for many nodes at once."""
        self.nodes[i], self.infos[i], self.parents[i] = HOLE, _HOLE_INFO, None
        if len(self.nodes) == 1:
            self.refs, self._starts[1] = [], 0
        else:
            begin, end = self._starts[i], self._starts[i + 1]
            self.refs[begin:end] = repeat(None, end - begin)
        self._odd.pop(i, None)
        self._dead.append(i)
        self._stale = True

    def _compact(self) -> None:
        """Let go of what is held for the nodes that are gone, in one pass."""
        if len(self._dead) + len(self.free) == len(self.nodes):
            self.nodes, self.infos, self.parents, self.refs, self._keys = [], [], [], [], []
            self._starts, self._kstarts, self._ended = array("I", (0,)), array("I", (0,)), bytearray()
            self.free, self._dead = [], []
            return
        alone = len(self.nodes) == 1
        if len(self._dead) <= FEW and not alone:
            for i in self._dead:
                self._splice(self.refs, self._starts, i, [])
                self._splice(self._keys, self._kstarts, i, [])
                self._ended[i] = False
            self.free += self._dead
            self._dead = []
            return
        dead = set(self._dead)
        refs: list[Any] = []
        keys: list[Any] = []
        starts, kstarts = array("I", (0,)), array("I", (0,))
        for i in range(len(self.nodes)):
            if i in dead:
                self._ended[i] = False
            else:
                refs += self.refs[self._starts[i] : self._starts[i + 1]]
                keys += self._keys[self._kstarts[i] : self._kstarts[i + 1]]
            starts.append(len(refs))
            kstarts.append(len(keys))
        if not alone:
            self.refs, self._keys, self._starts, self._kstarts = refs, keys, starts, kstarts
        self.free += self._dead
        self._dead = []
