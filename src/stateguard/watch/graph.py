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
from typing import TYPE_CHECKING, Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.compare import common_prefix, common_suffix, identical
from stateguard.watch.content import Content, Unsettled, fingerprint, read, referents
from stateguard.watch.edges import Anchor, Edges
from stateguard.watch.kinds import STATIC, Kind, TypeInfo, TypeTable, module_of, qualname
from stateguard.watch.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
        self.hot: list[Block] = []
        """Nodes that have changed before: compared at every look, however brief."""
        self.blocks: list[Block] = []
        """Compared at every check."""
        self.spaces: list[Block] = []
        """The namespaces of modules and classes: at every check what their names hold, but the names
        themselves, a hundred times more of them than ever change, with the cold nodes."""
        self.cold: list[Block] = []
        """Compared when asked: functions' own parts, process settings."""
        self.static: list[Block] = []
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

    def __len__(self) -> int:
        return len(self._index) + len(self.probes)

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self._index or id(obj) in self.probes.nodes

    # -- growing ---------------------------------------------------------------------------------

    def add_root(self, obj: Any, anchor: Anchor, info: TypeInfo | None = None, cold: bool = False) -> None:
        """Watch ``obj`` and all that is reachable from it."""
        if id(obj) in self._anchored:
            return
        self._anchored[id(obj)] = anchor
        if obj in self:
            self._extra[id(obj)] = self._extra.get(id(obj), 0) + 1
            self._set_parent(obj, anchor)
        else:
            self._adopt([(obj, anchor, info or self.table.info(type(obj)))], cold)
        self._seal()

    def _seal(self) -> None:
        for block in self._dirty:
            block.seal()
        self._dirty.clear()

    def _adopt(self, found: list[tuple[Any, Any, TypeInfo]], cold: bool = False) -> None:
        todo = deque(found)
        while todo:
            # Breadth first: an object with several names is known by its shortest.
            obj, parent, info = todo.popleft()
            key = id(obj)
            if key in self.probes.nodes and self.probes.node(key) is not obj:
                self.probes.remove(key)  # an array has died, and its address is in use again
            if key in self._index or key in self.probes.nodes:
                self._extra[key] = self._extra.get(key, 0) + 1
                continue
            refs = referents(obj)
            try:
                content = read(info, obj, refs)
            except Unsettled:
                content = Content([])  # seen as changed at the next check, and read then
            children = list(self.edges.of(obj, info, content, parent))
            if type(obj) is ContextVar:
                self.variables[key] = obj
            elif not children and info.kind in STATIC:
                continue
            label = self._label(obj, info)
            self._place(obj, info, label or parent, refs, content, cold)
            todo.extend((child, obj, known) for child, known in children)

    def _label(self, obj: Any, info: TypeInfo) -> Anchor | None:
        """Classes and functions are known by their own name, wherever they were met."""
        if info.kind is Kind.CLASS:
            return Anchor(f"{module_of(obj)}.{qualname(obj)}", namespace=True)
        if info.kind is Kind.FUNCTION:
            return Anchor(f"{obj.__module__}.{obj.__qualname__}", namespace=True)
        return None

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
            home: list[Block] = getattr(self, group)
            home.append(block)
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
        found: list[Difference] = []
        removed: list[Any] = []
        # Absorbing rearranges the blocks: look at all of them first.
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
        # Absorbing rearranges the blocks: look at all of them first.
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
        # Absorbing rearranges the blocks: look at all of them first.
        for block in [block for block in self.cold if not block.clean()]:
            self._absorb(block, found, removed)
        for block in [block for block in self.spaces if not block.clean()]:
            self._absorb(block, found, removed, fresh=True)
        if found:
            self._tidy(removed)
        return found

    def _tidy(self, removed: list[Any]) -> None:
        if removed:
            self._let_go(removed)
        self._seal()

    def _absorb(self, block: Block, found: list[Difference], removed: list[Any], fresh: bool = False) -> None:
        for i, refs in list(block.changed()):
            node, info = block.nodes[i], block.infos[i]
            try:
                after = read(info, node, refs if block.soften is None else referents(node))
            except Unsettled:
                continue
            before = block.content(i)
            parent = block.parents[i]
            found.append(Difference(node, info, before, after, fresh))
            if type(node) is not info.cls:  # ``obj.__class__ = Other``
                block.infos[i] = info = self.table.expanded(type(node))
            if fresh or (len(refs) > LARGE and len(block) > 1):
                block.remove(i)
                self._retire(block)
                self._settle_in(self._home("hot", refs), node, info, parent, refs, after)
            else:
                block.replace(i, refs, after)
                self._dirty.add(block)
            self._relink(node, info, before, after, parent, removed)
            if after.own is not None and after.own is before.own:
                self._absorb_own(after.own, found, removed, fresh)

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
        a, b = before.values, after.values
        same_keys = before.keys is None or (after.keys is not None and len(before.keys) == len(after.keys))
        start = end = 0
        if info.kind is not Kind.CLASS and same_keys and before.keys is None:
            # Only what lies between the common beginning and the common end has come or gone.
            start = common_prefix(a, b)
            end = common_suffix(a, b, min(len(a), len(b)) - start)
        old = Content(a[start : len(a) - end], before.keys, before.own, before.slots)
        new = Content(b[start : len(b) - end], after.keys, after.own, after.slots)
        gone: dict[int, list[Any]] = {}
        for child, _ in self.edges.of(node, info, old, parent):
            gone.setdefault(id(child), []).append(child)
        come = []
        for child, known in self.edges.of(node, info, new, parent):
            waiting = gone.get(id(child))
            if waiting:
                waiting.pop()
            else:
                come.append((child, node, known))
        self._adopt(come)
        for children in gone.values():
            removed.extend(children)

    # -- letting go ------------------------------------------------------------------------------

    def _let_go(self, removed: list[Any]) -> None:
        """Drop what nothing watched refers to any more, cycles included (trial deletion)."""
        suspects: dict[int, Any] = {}
        for obj in removed:
            key = id(obj)
            if key not in self._index and key not in self.probes.nodes:
                continue
            extra = self._extra.pop(key, 0)
            if extra > 1:
                self._extra[key] = extra - 1
            if extra == 0:
                # Its last edge went: nothing watched refers to it, so its own edges go with it.
                self._drop(obj, suspects)
            else:
                suspects[key] = obj
        for obj in list(suspects.values()):
            if obj in self:
                self._drop_if_cycle(obj)

    def _drop(self, obj: Any, suspects: dict[int, Any]) -> None:
        todo = [obj]
        while todo:
            node = todo.pop()
            key = id(node)
            children = self.children(node)
            block = self._index.pop(key, None)
            if block is not None:
                block.remove(block.position(node))
                self._retire(block)
            elif key in self.probes.nodes:
                self.probes.remove(key)
            else:
                continue
            self._extra.pop(key, None)
            suspects.pop(key, None)
            for child in children:
                child_key = id(child)
                if child_key not in self._index and child_key not in self.probes.nodes:
                    continue
                extra = self._extra.pop(child_key, 0)
                if extra > 1:
                    self._extra[child_key] = extra - 1
                if extra == 0:
                    todo.append(child)
                else:
                    suspects[child_key] = child

    def _retire(self, block: Block) -> None:
        if len(block):
            return
        for home in (self.hot, self.blocks, self.spaces, self.cold, self.static):
            if any(block is kept for kept in home):
                home[:] = [kept for kept in home if kept is not block]
        for group, kept in list(self._open.items()):
            if kept is block:
                del self._open[group]
        self._dirty.discard(block)

    def _drop_if_cycle(self, start: Any, limit: int = 20_000) -> None:
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
        for key, obj in inside.items():
            block = self._index.pop(key, None)
            children = []
            if block is not None:
                i = block.position(obj)
                children = self._children_at(block, i)
                block.remove(i)
                self._retire(block)
            else:
                self.probes.remove(key)
            self._extra.pop(key, None)
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
