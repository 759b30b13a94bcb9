"""The watched object graph: every mutable object reachable from the roots, and what each held last.

A check costs one pass over flat lists. A change costs what it changed: the nodes that differ are read
again, new objects are walked, objects that nothing watched refers to any more are let go.
"""

from __future__ import annotations

import sys
import types
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.compare import identical
from stateguard.watch.content import Content, Unsettled, differing, fingerprint, read, referents
from stateguard.watch.edges import Anchor, Edges
from stateguard.watch.kinds import STATIC, Kind, TypeInfo, TypeTable
from stateguard.watch.probes import Probes
from stateguard.watch.rotation import Rotation
from stateguard.watch.walk import STRIDE, Walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOT = 32_768
"""References of the nodes that have changed before, at most: they are compared at every look."""

BATCH = 64
"""Nodes that are let go of between two looks at the clock."""

CYCLE = 20_000
"""Objects up to which a group that holds itself is searched for what holds it from outside."""

CYCLE_IN_SLICES = 500


@dataclass(slots=True, eq=False)
class Difference:
    """One node that is not as it was. Holds application objects: to be described and dropped at once."""

    node: Any
    info: TypeInfo
    before: Content
    after: Content
    fresh: bool = False
    """The node had not changed before, as far as anybody has seen."""


class Graph:
    """Nodes in blocks, found by identity. Not thread-safe: the caller holds a lock."""

    def __init__(self, table: TypeTable) -> None:
        self.table = table
        self.edges = Edges(table)
        self.hot: dict[Block, None] = {}
        """Nodes that have changed before: compared at every look, however brief."""
        self.blocks: dict[Block, None] = {}
        """Compared at every check."""
        self.spaces: dict[Block, None] = {}
        """The namespaces of modules and classes: at every check what their names hold, but the names
        themselves, a hundred times more of them than ever change, with the cold nodes."""
        self.cold: dict[Block, None] = {}
        """Compared when asked: functions' own parts, process settings."""
        self.static: dict[Block, None] = {}
        """Never compared: tuples and other things that only lead on."""
        self.probes = Probes()
        self.locals: dict[int, Any] = {}
        """The ``threading.local`` objects met on the way."""
        self.variables: dict[int, ContextVar[Any]] = {}
        """The context variables met on the way."""
        self._index: dict[int, Block] = {}
        self._extra: dict[int, int] = {}
        self._anchored: dict[int, Anchor] = {}
        self._open: dict[str, Block] = {}
        self._dirty: set[Block] = set()
        self._leaving: deque[Any] = deque()
        self._doubtful: dict[int, Any] = {}
        self.eager = True
        """Whether what comes is walked at once, however much it is; otherwise :attr:`walk` is to be run."""
        self.portion: int | None = None
        """New nodes that a look walks through at most; what is left lies in :attr:`walk`."""
        self.walk = Walk(self)
        self.rotation = Rotation(self)

    def __len__(self) -> int:
        return len(self._index) + len(self.probes)

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self._index or id(obj) in self.probes.nodes

    # -- growing ---------------------------------------------------------------------------------

    def add_root(
        self,
        obj: Any,
        anchor: Anchor,
        info: TypeInfo | None = None,
        cold: bool = False,
    ) -> None:
        """Watch ``obj`` and all that is reachable from it."""
        if id(obj) in self._anchored:
            return
        self._anchored[id(obj)] = anchor
        if obj in self:
            self._count(id(obj))
            self._set_parent(obj, anchor)
        else:
            self.walk.meet(obj, anchor, info or self.table.info(type(obj)), cold)
        if self.eager:
            self.walk.run()

    def _count(self, key: int) -> None:
        """One more edge leads to a watched object."""
        extra = self._extra.pop(key, 0) + 1
        if extra:
            self._extra[key] = extra

    def _place(
        self, obj: Any, info: TypeInfo, parent: Any, refs: list[Any], content: Content, cold: bool
    ) -> None:
        if info.kind is Kind.BUFFER or info.kind is Kind.TICKER:
            self.probes.add(obj, info, parent, content)
            return
        if info.kind is Kind.LOCAL:
            self.locals[id(obj)] = obj
        if info.kind is Kind.FUNCTION:
            cold = True
        group = "static" if info.kind in STATIC else "cold" if cold else "blocks"
        if group == "blocks" and self._is_namespace(parent):
            group = "spaces"
        self._settle_in(self._home(group, refs), obj, info, parent, refs, content)

    def _is_namespace(self, parent: Any) -> bool:
        """Whether what hangs below is the namespace of a module or a class."""
        if type(parent) is Anchor:
            return parent.namespace
        return self.table.info(type(parent)).kind is Kind.CLASS

    def _home(self, group: str, refs: list[Any]) -> Block:
        """A block with room for a node: shared with others of its group, or its own if it is large."""
        tender = "numpy" in sys.modules and self._any_tender(refs)
        mark = f"{group} tender" if tender else group
        block = self._open.get(mark)
        if block is None or block.full or len(refs) > LARGE:
            block = Block(self._soften if tender else None)
            home: dict[Block, None] = getattr(self, group)
            home[block] = None
            if len(refs) <= LARGE:
                self._open[mark] = block
        return block

    def _any_tender(self, refs: list[Any]) -> bool:
        found = list(map(type, refs))
        return any(
            self.table.info(cls).tender for cls in dict(zip(map(id, found), found, strict=True)).values()
        )

    def _is_tender(self, obj: Any) -> bool:
        return self.table.info(type(obj)).tender

    def _soften(self, refs: list[Any]) -> list[Any]:
        return [self.probes.stand_in(ref) if self._is_tender(ref) else ref for ref in refs]

    # -- checking --------------------------------------------------------------------------------

    def check(self, keys: bool = True) -> list[Difference]:
        """Look at every node but the cold ones; return those that differ, and remember how they are now.

        Without ``keys``, a key renamed while its value stays is left for the next full check to find, unless
        the node has changed before: :meth:`check_hot` would find it, and blame those who are running then.
        """
        # Absorbing rearranges the blocks: look at all of one kind first.
        found: list[Difference] = []
        removed: list[Any] = []
        for block in [block for block in self.hot if not block.clean()]:
            self._absorb(block, found, removed)
        for block in [block for block in self.blocks if not block.clean(keys)]:
            self._absorb(block, found, removed, fresh=True)
        for block in [block for block in self.spaces if not block.clean(keys=False)]:
            self._absorb(block, found, removed, fresh=True)
        if self.probes.nodes:
            self._absorb_probes(list(self.probes.nodes), found, removed)
        if found:
            self._tidy(removed)
        return found

    def check_hot(self) -> list[Difference]:
        """The same for the nodes that have changed before."""
        found: list[Difference] = []
        removed: list[Any] = []
        for block in [block for block in self.hot if not block.clean()]:
            self._absorb(block, found, removed)
        if self.probes.hot:
            self._absorb_probes(list(self.probes.hot), found, removed)
        if found:
            self._tidy(removed)
        return found

    def check_cold(self) -> list[Difference]:
        """The same for the cold nodes, and for the names in namespaces."""
        found: list[Difference] = []
        removed: list[Any] = []
        for block in [block for block in self.cold if not block.clean()]:
            self._absorb(block, found, removed)
        for block in [block for block in self.spaces if not block.clean()]:
            self._absorb(block, found, removed, fresh=True)
        if found:
            self._tidy(removed)
        return found

    def check_slice(self, until: int) -> list[Difference]:
        """Go on with the round through all nodes, until the clock (``perf_counter_ns``) shows ``until``.

        Whatever has come is walked first, and whatever has gone is let go of, but for half of the time at
        most: a state that is always growing is looked at all the same.
        """
        if self.walk or self._leaving or self._doubtful:
            now = perf_counter_ns()
            half = now + (until - now) // 2
            self.walk.run(half)
            self._release(half)
            self._dirty.clear()
        found: list[Difference] = []
        removed: list[Any] = []
        while True:
            unit = self.rotation.next()
            if unit is None:
                break
            if isinstance(unit, int):
                if unit in self.probes.nodes:
                    self._absorb_probes([unit], found, removed)
            elif not unit.clean():
                fresh = unit not in self.cold
                if not self._absorb(unit, found, removed, fresh=fresh, until=until):
                    self.rotation.again(unit)
            if perf_counter_ns() >= until:
                break
        if found:
            self._tidy(removed, until)
        return found

    def _tidy(self, removed: list[Any], until: int | None = None) -> None:
        for obj in removed:
            self._uncount(obj)
        if until is None:
            self.walk.run(nodes=None if self.portion is None else len(self) + self.portion)
            self._release(nodes=self.portion)
            self._seal()
        self._dirty.clear()  # in slices, each block is sealed when its turn comes

    def _seal(self) -> None:
        for block in self._dirty:
            block.seal()

    def _absorb(
        self,
        block: Block,
        found: list[Difference],
        removed: list[Any],
        fresh: bool = False,
        until: int | None = None,
    ) -> bool:
        """Take in what differs in a block; whether all of it, before the clock showed ``until``."""
        complete = True
        for i, refs in list(block.changed()):
            node, info = block.nodes[i], block.infos[i]
            if self.walk and self.walk.is_open(node):
                continue  # seen as changed when its children have been met
            try:
                after = read(info, node, refs if block.soften is None else referents(node))
            except Unsettled:
                continue
            before = block.content(i)
            if self.walk and before.own is not None and self.walk.is_open(before.own):
                continue
            parent = block.parents[i]
            found.append(Difference(node, info, before, after, fresh))
            if type(node) is not info.cls:  # ``obj.__class__ = Other``
                block.infos[i] = info = self.table.expanded(type(node))
            if fresh or (len(refs) > LARGE and len(block) > 1):
                block.remove(i)
                self._dirty.add(block)
                self._retire(block)
                self._settle_in(self._home("hot", refs), node, info, parent, refs, after)
            else:
                block.replace(i, refs, after)
                self._dirty.add(block)
            self._relink(node, info, before, after, parent, removed)
            if after.own is not None and after.own is before.own:
                self._absorb_own(after.own, found, removed, fresh)
            if until is not None and perf_counter_ns() >= until:
                complete = False
                break
        if block in self.hot:
            self.hot[block] = self.hot.pop(block)  # the most recent last
        elif len(self.hot) > 1:
            self._cool()
        return complete

    def _cool(self) -> None:
        """Keep what is looked at most often small: what has not changed for longest leaves."""
        size = sum(len(block.refs) for block in self.hot)
        while size > HOT and len(self.hot) > 1:
            block = next(iter(self.hot))
            size -= len(block.refs)
            del self.hot[block]
            self.blocks[block] = None
            for group in [group for group, kept in self._open.items() if kept is block]:
                del self._open[group]

    def _absorb_own(
        self, own: dict[str, Any], found: list[Difference], removed: list[Any], fresh: bool
    ) -> None:
        """Attributes that lie inside the instance (CPython 3.13), where its own references show them."""
        block = self._index.get(id(own))
        if block is None:
            return
        i = block.position(own)
        info, parent, before = block.infos[i], block.parents[i], block.content(i)
        refs = referents(own)
        try:
            after = read(info, own, refs)
        except Unsettled:
            return
        if identical(before.values, after.values) and identical(before.keys or [], after.keys or []):
            return
        found.append(Difference(own, info, before, after, fresh))
        block.replace(i, refs, after)
        self._dirty.add(block)
        self._relink(own, info, before, after, parent, removed)

    def _settle_in(
        self, block: Block, obj: Any, info: TypeInfo, parent: Any, refs: list[Any], content: Content
    ) -> None:
        block.add(obj, info, parent, refs, content)
        self._index[id(obj)] = block
        self._dirty.add(block)

    def _absorb_probes(self, keys: list[int], found: list[Difference], removed: list[Any]) -> None:
        for key, there in list(self.probes.alive(keys)):
            node = self._find_again(key) if there is None else there
            if node is None:
                self.probes.remove(key)
                self._extra.pop(key, None)
                continue
            info, before = self.probes.infos[key], self.probes.contents[key]
            if fingerprint(node) == before.fingerprint:
                continue
            after = read(info, node, referents(node))
            found.append(Difference(node, info, before, after, key not in self.probes.hot))
            self.probes.update(key, node, after)
            self._relink(node, info, before, after, self.probes.parents[key], removed)

    def _find_again(self, key: int) -> Any:
        """An array that its holder has let go of and that another node may still hold."""
        stand_in = self.probes.nodes[key]
        for block in self._all_blocks():
            if not any(ref is stand_in for ref in block.refs):
                continue
            for holder in block.nodes:
                for ref in referents(holder):
                    if id(ref) == key and type(ref) is self.probes.infos[key].cls:
                        self.probes.parents[key] = holder
                        return ref
        return None

    def _relink(
        self, node: Any, info: TypeInfo, before: Content, after: Content, parent: Any, removed: list[Any]
    ) -> None:
        """Follow the edges that came; note the objects whose edge went."""
        old, new = before, after
        if info.kind is not Kind.CLASS and info.kind is not Kind.CACHE:  # whose values have their places
            old, new = differing(before, after)
        gone: dict[int, list[Any]] = {}
        for child, _ in self.edges.of(node, info, old, parent):
            gone.setdefault(id(child), []).append(child)
        come = []
        for child, known in self.edges.of(node, info, new, parent):
            waiting = gone.get(id(child))
            if waiting:
                waiting.pop()
            else:
                come.append((child, known))
        if len(come) <= STRIDE:
            for child, known in come:
                self.walk.meet(child, node, known)
        else:
            self.walk.add(node, come)
        for children in gone.values():
            removed.extend(children)

    # -- letting go ------------------------------------------------------------------------------

    def _uncount(self, obj: Any) -> None:
        """One edge to an object is gone; with the last one, it leaves."""
        key = id(obj)
        if key not in self._index and key not in self.probes.nodes:
            return
        extra = self._extra.pop(key, 0)
        if extra > 1:
            self._extra[key] = extra - 1
        if extra > 0:
            self._doubtful[key] = obj
        else:
            # Nothing watched refers to it. Unless that changes before its turn, its own edges go with it.
            self._extra[key] = -1
            self._leaving.append(obj)

    @property
    def has_hot(self) -> bool:
        """Whether anything has changed before."""
        return bool(self.hot or self.probes.hot)

    @property
    def unsettled(self) -> bool:
        """Whether there is more to walk, or to let go of, than a look has had time for."""
        return bool(self.walk or self._leaving)

    @property
    def cost(self) -> int:
        """About how many nanoseconds a comparison of everything takes, for want of a measurement."""
        refs = sum(len(block.refs) for home in (self.hot, self.blocks, self.spaces) for block in home)
        return 60 * len(self._index) + 10 * refs

    def memory(self) -> int:
        """Bytes that the graph takes, about: measured on some of the blocks."""
        blocks = list(self._all_blocks())
        sample = blocks[:: max(1, len(blocks) // 50)]
        size = sum(map(Block.memory, sample)) * len(blocks) // max(1, len(sample))
        tables = (self._index, self._extra, self._anchored, self.probes.nodes)
        return size + sum(map(sys.getsizeof, tables)) + 32 * (len(self._index) + len(self._extra))

    def _release(self, until: int | None = None, nodes: int | None = None) -> None:
        """Drop what nothing watched refers to any more, cycles included (trial deletion)."""
        while self._leaving:
            if nodes is not None:
                nodes -= BATCH
                if nodes < 0:
                    return
            places: dict[Block, dict[int, int]] = {}
            for _ in range(min(BATCH, len(self._leaving))):
                node = self._leaving.popleft()
                key = id(node)
                if self._extra.get(key) != -1:
                    continue  # something refers to it again
                del self._extra[key]
                self._doubtful.pop(key, None)
                unmet = self.walk.withdraw(node) if self.walk else None
                for child in self._take_out(node, places):
                    if unmet and unmet[id(child)] > 0:
                        unmet[id(child)] -= 1
                    else:
                        self._uncount(child)
            if until is not None and perf_counter_ns() >= until:
                return
        while self._doubtful:
            obj = self._doubtful.pop(next(iter(self._doubtful)))
            if obj in self and not self.walk:
                self._drop_if_cycle(obj, CYCLE if until is None else CYCLE_IN_SLICES)
            if until is not None and perf_counter_ns() >= until:
                return

    def _take_out(self, node: Any, places: dict[Block, dict[int, int]]) -> list[Any]:
        """Forget a node; what it led to. ``places`` keeps where the nodes of a block lie, for many nodes."""
        block = self._index.pop(id(node), None)
        if block is None:
            children = self.children(node)
            self.probes.remove(id(node))
            return children
        where = places.get(block)
        if where is None:
            where = places[block] = block.places()
        i = where[id(node)]
        children = self._children_at(block, i)
        block.remove(i)
        self._dirty.add(block)
        self._retire(block)
        return children

    def _retire(self, block: Block) -> None:
        if len(block):
            return
        for home in (self.hot, self.blocks, self.spaces, self.cold, self.static):
            home.pop(block, None)
        for group, kept in list(self._open.items()):
            if kept is block:
                del self._open[group]

    def _drop_if_cycle(self, start: Any, limit: int) -> None:
        inside: dict[int, Any] = {id(start): start}
        internal: dict[int, int] = {}
        todo = [start]
        while todo:
            for child in self.children(todo.pop()):
                key = id(child)
                if key in self._index or key in self.probes.nodes:
                    internal[key] = internal.get(key, 0) + 1
                    if key not in inside:
                        inside[key] = child
                        todo.append(child)
            if len(inside) > limit:  # large and well connected: alive in all likelihood
                return
        live = [
            obj
            for key, obj in inside.items()
            if key in self._anchored or self._extra.get(key, 0) + 1 > internal.get(key, 0)
        ]
        while live:
            obj = live.pop()
            if inside.pop(id(obj), None) is not None:
                live.extend(child for child in self.children(obj) if id(child) in inside)
        places: dict[Block, dict[int, int]] = {}
        for obj in inside.values():
            children = self._take_out(obj, places)
            self._extra.pop(id(obj), None)
            for child in children:
                child_key = id(child)
                if child_key not in inside and child in self:
                    extra = self._extra.pop(child_key, 0)
                    if extra > 1:
                        self._extra[child_key] = extra - 1

    # -- asking ----------------------------------------------------------------------------------

    def children(self, node: Any) -> list[Any]:
        """The watched objects that a node led to when last looked at."""
        block = self._index.get(id(node))
        if block is not None:
            return self._children_at(block, block.position(node))
        content = self.probes.contents.get(id(node))
        if content is None:
            return []
        info, parent = self.probes.infos[id(node)], self.probes.parents[id(node)]
        return [child for child, _ in self.edges.of(node, info, content, parent)]

    def _children_at(self, block: Block, i: int) -> list[Any]:
        if block.is_plain(i) and self.table.are_leaves(block.refs_of(i)):
            return []
        edges = self.edges.of(block.nodes[i], block.infos[i], block.content(i), block.parents[i])
        return [child for child, _ in edges]

    def content(self, node: Any) -> tuple[TypeInfo, Content] | None:
        """What a node held when last looked at, or ``None`` if it is not watched."""
        block = self._index.get(id(node))
        if block is not None:
            i = block.position(node)
            return block.infos[i], block.content(i)
        if id(node) in self.probes.nodes:
            return self.probes.infos[id(node)], self.probes.contents[id(node)]
        return None

    def parent(self, node: Any) -> Any:
        """The node or anchor through which a node was met, or ``None``."""
        block = self._index.get(id(node))
        if block is not None:
            return block.parents[block.position(node)]
        return self.probes.parents.get(id(node))

    def is_shared(self, node: Any) -> bool:
        """Whether more than one reference among the watched objects leads to ``node``."""
        return self._extra.get(id(node), 0) > 0

    def _set_parent(self, node: Any, parent: Any) -> None:
        block = self._index.get(id(node))
        if block is not None:
            block.parents[block.position(node)] = parent
        elif id(node) in self.probes.nodes:
            self.probes.parents[id(node)] = parent

    def holders(self, node: Any) -> Iterator[Any]:
        """The nodes that refer to ``node``, other than the one it was met through. Slow: a full scan."""
        wanted = id(node)
        for block in self._all_blocks():
            if wanted not in set(map(id, block.refs)):
                continue
            for i, holder in enumerate(block.nodes):
                if any(child is node for child in self._children_at(block, i)):
                    yield holder

    def adopt_parent(self, node: Any, parent: Any) -> None:
        """Know ``node`` through ``parent`` from now on."""
        self._set_parent(node, parent)

    def find_way(self, node: Any) -> bool:
        """Know ``node`` and those on the way to it by a shortest way from an anchor. Slow: a walk."""
        if node not in self:
            return False
        roots = [obj for block in self._all_blocks() for obj in block.nodes if id(obj) in self._anchored]
        through: dict[int, Any] = dict.fromkeys(map(id, roots))
        todo = deque(roots)
        while todo and id(node) not in through:
            holder = todo.popleft()
            for child in self.children(holder):
                if id(child) not in through:
                    through[id(child)] = holder
                    todo.append(child)
        if id(node) not in through:
            return False
        while type(self.parent(node)) is not Anchor and through[id(node)] is not None:
            self.adopt_parent(node, through[id(node)])
            node = through[id(node)]
        return True

    def functions(self) -> Iterator[types.FunctionType]:
        """The functions among the nodes."""
        for block in self._all_blocks():
            yield from (node for node in block.nodes if type(node) is types.FunctionType)

    def _all_blocks(self) -> Iterable[Block]:
        yield from self.hot
        yield from self.blocks
        yield from self.spaces
        yield from self.cold
        yield from self.static
