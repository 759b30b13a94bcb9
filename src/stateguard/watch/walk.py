"""The walk: follows edges to objects that are not watched yet, as far as there is time.

What is left to follow waits in a queue of parents, each with the rest of its children, breadth first: an
object with several names is known by its shortest. A parent that waits is *open*: it is not compared until
its children have been met, so that its edges are counted once, whatever the application does meanwhile.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from contextvars import ContextVar
from itertools import chain, islice
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.compare import identical
from stateguard.watch.content import Content, Unsettled, read_with, referents
from stateguard.watch.edges import Anchor
from stateguard.watch.kinds import STATIC, Kind, TypeInfo, module_of, qualname

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stateguard.watch.graph import Graph

STRIDE = 16
"""Children that are met between two looks at the clock."""


class _Open:
    """A parent and those of its children that are still to be met."""

    __slots__ = ("children", "cold", "parent")

    def __init__(self, parent: Any, children: Iterator[tuple[Any, TypeInfo]], cold: bool) -> None:
        self.parent = parent
        self.children = children
        self.cold = cold


class Walk:
    """Grows one graph. The caller holds the graph's lock."""

    def __init__(self, graph: Graph) -> None:
        # Weakly: a graph is let go of at once, with all that it holds, not by the next collection.
        self._graph = weakref.ref(graph)
        self._todo: deque[_Open] = deque()
        self._open: dict[int, _Open] = {}

    def _get(self) -> Graph:
        graph = self._graph()
        assert graph is not None, "a walk is run by its graph"
        return graph

    def __bool__(self) -> bool:
        return bool(self._todo)

    def is_open(self, node: Any) -> bool:
        """Whether children of ``node`` are still to be met."""
        return id(node) in self._open

    def withdraw(self, node: Any) -> Counter[int]:
        """Meet no more children of ``node``; the ids of those that have not been met."""
        entry = self._open.pop(id(node), None)
        if entry is None:
            return Counter()
        left, entry.children = entry.children, iter(())
        entry.parent = None  # it is let go of before this entry has its turn
        return Counter(id(child) for child, _ in left)

    def add(self, parent: Any, children: Iterable[tuple[Any, TypeInfo]], cold: bool = False) -> None:
        """Meet these children of ``parent`` when their turn comes; it is not compared until then."""
        entry = _Open(parent, iter(children), cold)
        self._todo.append(entry)
        self._open[id(parent)] = entry

    def run(self, until: int | None = None, nodes: int | None = None) -> bool:
        """Go on until the clock (``perf_counter_ns``) shows ``until``, or that many ``nodes`` are watched.

        Whether there is nothing left to do.
        """
        graph, todo = self._get(), self._todo
        while todo:
            entry = todo[0]
            met = 0
            for obj, info in islice(entry.children, STRIDE):
                met += 1
                self.meet(obj, entry.parent, info, entry.cold)
            if met < STRIDE:
                todo.popleft()
                if self._open.get(id(entry.parent)) is entry:
                    del self._open[id(entry.parent)]
            if (until is not None and perf_counter_ns() >= until) or (
                nodes is not None and len(graph) >= nodes
            ):
                break
        return not todo

    def meet(self, obj: Any, parent: Any, info: TypeInfo, cold: bool = False) -> None:
        """Watch an object that ``parent`` leads to; its own children wait for their turn."""
        graph = self._get()
        key = id(obj)
        if key in graph.probes.nodes and graph.probes.node(key) is not obj:
            graph.probes.remove(key)  # an array has died, and its address is in use again
        if (key in graph._index or key in graph.probes.nodes) and not graph.release.revive(obj):
            graph._count(key, parent)
            return
        refs = referents(obj)
        kind = info.kind
        if (
            info.exact
            and info.only is None
            and len(refs) <= LARGE
            and (kind is Kind.DICT or kind is Kind.LIST)
        ):
            keys = list(obj) if kind is Kind.DICT else None
            # A list, or a dictionary with string keys: its references are its values. Not so where attributes
            # were set in another order than those of the class's first instance: they are referred to in
            # that order, and iterated over in their own.
            if (keys is None or identical(list(obj.values()), refs)) and graph.table.are_leaves(refs):
                block = self._home_of(parent, cold)
                if block is not None and block.append_plain(obj, info, parent, refs, keys):
                    graph._index[key] = block
                    return
        try:
            refs, content = read_with(info, obj, refs)
        except Unsettled:
            content = Content([])  # seen as changed at the next check, and read then
        edges = graph.edges.of(obj, info, content, parent)
        first = next(edges, None)
        if type(obj) is ContextVar:
            graph.variables[key] = obj
        elif first is None and kind in STATIC:
            return
        graph._place(obj, info, _label(obj, info) or parent, refs, content, cold)
        if first is not None:
            self.add(obj, chain((first,), edges), cold)

    def _home_of(self, parent: Any, cold: bool) -> Block | None:
        graph = self._get()
        group = "cold" if cold else "spaces" if graph._is_namespace(parent) else "blocks"
        block = graph._open.get(group)
        return None if block is None or block.full else block


def _label(obj: Any, info: TypeInfo) -> Anchor | None:
    """Classes and functions are known by their own name, wherever they were met."""
    if info.kind is Kind.CLASS:
        return Anchor(f"{module_of(obj)}.{qualname(obj)}", namespace=True)
    if info.kind is Kind.FUNCTION:
        return Anchor(f"{obj.__module__}.{obj.__qualname__}", namespace=True)
    return None
