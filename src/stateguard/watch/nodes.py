"""The nodes of one watch: which objects are watched, where each lies, and how it was met."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.compare import types_of
from stateguard.watch.content import Content
from stateguard.watch.edges import Anchor, Edges
from stateguard.watch.index import Index
from stateguard.watch.kinds import STATIC, Kind, TypeInfo, TypeTable
from stateguard.watch.large import Large, suits
from stateguard.watch.probes import Probes
from stateguard.watch.ways import Ways

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
        self.ways = Ways(self)
        self.settled = False
        """Whether the baseline is complete: what is held by one more from then on may be on its way there."""
        self._index = Index()
        self._extra: dict[int, int] = {}
        self._anchored: dict[int, Anchor] = {}
        self._open: dict[str, Block] = {}
        self._postponed: set[int] = set()
        """Nodes that a look has left out although they differed, by id: they could not be read yet."""
        self._dirty: set[Block] = set()
        """Blocks that may still hold something for nodes which were removed from them."""

    def __len__(self) -> int:
        return len(self._index) + len(self.probes)

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self._index or id(obj) in self.probes.nodes

    # -- placing ---------------------------------------------------------------------------------

    def _count(self, key: int, holder: Any) -> None:
        """One more edge leads to a watched object, from ``holder``."""
        extra = self._extra.pop(key, 0) + 1
        if extra:
            self._extra[key] = extra
        if self.settled:
            self.ways.note(key, holder)

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
        return "numpy" in sys.modules and any(self.table.info(cls).tender for cls in types_of(refs))

    def _is_tender(self, obj: Any) -> bool:
        return self.table.info(type(obj)).tender

    def _soften(self, refs: list[Any]) -> list[Any]:
        return [self.probes.stand_in(ref) if self._is_tender(ref) else ref for ref in refs]

    def _settle_in(
        self, block: Block, obj: Any, info: TypeInfo, parent: Any, refs: list[Any], content: Content
    ) -> None:
        block.add(obj, info, parent, refs, content)
        self._index[id(obj)] = block

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
        return list(self.each_child(node))

    def each_child(self, node: Any) -> Iterator[Any]:
        """The same, one after the other, whatever becomes of the node meanwhile."""
        block = self._index.get(id(node))
        if block is not None:
            i = block.position(node)
            if block.is_plain(i) and self.table.are_leaves(block.refs_of(i)):
                return iter(())
            info, content, parent = block.infos[i], block.content(i), block.parents[i]
        elif id(node) in self.probes.contents:
            info, content = self.probes.infos[id(node)], self.probes.contents[id(node)]
            parent = self.probes.parents[id(node)]
        else:
            return iter(())
        return (child for child, _ in self.edges.of(node, info, content, parent))

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

    def _node_at(self, key: int) -> Any:
        """The watched object of that id, or ``None``."""
        block = self._index.get(key)
        if block is None:
            return None
        return next((node for node in block.nodes if id(node) == key), None)

    def _set_parent(self, node: Any, parent: Any) -> None:
        block = self._index.get(id(node))
        if block is not None:
            block.parents[block.position(node)] = parent
        elif id(node) in self.probes.nodes:
            self.probes.parents[id(node)] = parent

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
