"""The nodes of one watch: which objects are watched, where each lies, and how it was met."""

from __future__ import annotations

import sys
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.content import Content
from stateguard.watch.edges import Anchor, Edges
from stateguard.watch.index import Index
from stateguard.watch.kinds import STATIC, Kind, TypeInfo, TypeTable
from stateguard.watch.large import Large, suits
from stateguard.watch.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextvars import ContextVar


class Nodes:
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
        self._index = Index()
        self._extra: dict[int, int] = {}
        self._anchored: dict[int, Anchor] = {}
        self._open: dict[str, Block] = {}
        self._dirty: set[Block] = set()

    def __len__(self) -> int:
        return len(self._index) + len(self.probes)

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self._index or id(obj) in self.probes.nodes

    # -- placing ---------------------------------------------------------------------------------

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
        self._settle_in(self._home(group, refs, info), obj, info, parent, refs, content)

    def _is_namespace(self, parent: Any) -> bool:
        """Whether what hangs below is the namespace of a module or a class."""
        if type(parent) is Anchor:
            return parent.namespace
        return self.table.info(type(parent)).kind is Kind.CLASS

    def _home(self, group: str, refs: list[Any], info: TypeInfo) -> Block:
        """A block with room for a node: shared with others of its group, or its own if it is large."""
        tender = self._any_tender(refs)
        mark = f"{group} tender" if tender else group
        block = self._open.get(mark)
        if block is None or block.full or len(refs) > LARGE:
            if len(refs) > LARGE and not tender and suits(info):
                block = Large()
            else:
                block = Block(self._soften if tender else None)
            home: dict[Block, None] = getattr(self, group)
            home[block] = None
            if len(refs) <= LARGE:
                self._open[mark] = block
        return block

    def _any_tender(self, refs: list[Any]) -> bool:
        if "numpy" not in sys.modules:
            return False
        found = list(map(type, refs))
        return any(
            self.table.info(cls).tender for cls in dict(zip(map(id, found), found, strict=True)).values()
        )

    def _is_tender(self, obj: Any) -> bool:
        return self.table.info(type(obj)).tender

    def _soften(self, refs: list[Any]) -> list[Any]:
        return [self.probes.stand_in(ref) if self._is_tender(ref) else ref for ref in refs]

    def _settle_in(
        self, block: Block, obj: Any, info: TypeInfo, parent: Any, refs: list[Any], content: Content
    ) -> None:
        block.add(obj, info, parent, refs, content)
        self._index[id(obj)] = block
        self._dirty.add(block)

    def _retire(self, block: Block) -> None:
        if len(block):
            return
        for home in (self.hot, self.blocks, self.spaces, self.cold, self.static):
            home.pop(block, None)
        for group, kept in list(self._open.items()):
            if kept is block:
                del self._open[group]

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

    @property
    def has_hot(self) -> bool:
        """Whether anything has changed before."""
        return bool(self.hot or self.probes.hot)

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
        tables = (self._extra, self._anchored, self.probes.nodes)
        return size + self._index.memory() + sum(map(sys.getsizeof, tables)) + 32 * len(self._extra)

    def _all_blocks(self) -> Iterable[Block]:
        yield from self.hot
        yield from self.blocks
        yield from self.spaces
        yield from self.cold
        yield from self.static
