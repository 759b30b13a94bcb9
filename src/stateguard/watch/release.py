"""Letting go of what nothing watched refers to any more, cycles included, as far as there is time."""

from __future__ import annotations

import weakref
from collections import deque
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateguard.watch.block import Block
    from stateguard.watch.graph import Graph

BATCH = 64
"""Nodes that are let go of between two looks at the clock."""

CYCLE = 20_000
"""Objects up to which a group that holds itself is searched for what holds it from outside."""

CYCLE_IN_SLICES = 500


class Release:
    """Takes nodes out of one graph. The caller holds the graph's lock."""

    def __init__(self, graph: Graph) -> None:
        self._graph = weakref.ref(graph)  # no cycle: what a graph holds is let go of with it
        self._leaving: deque[Any] = deque()
        self._doubtful: dict[int, Any] = {}

    def _get(self) -> Graph:
        graph = self._graph()
        assert graph is not None, "nodes are let go of by their graph"
        return graph

    def __bool__(self) -> bool:
        return bool(self._leaving or self._doubtful)

    @property
    def leaving(self) -> bool:
        """Whether nodes wait to be taken out."""
        return bool(self._leaving)

    def uncount(self, obj: Any) -> None:
        """One edge to an object is gone; with the last one, it leaves."""
        graph = self._get()
        key = id(obj)
        if key not in graph._index and key not in graph.probes.nodes:
            return
        extra = graph._extra.pop(key, 0)
        if extra > 1:
            graph._extra[key] = extra - 1
        if extra > 0:
            self._doubtful[key] = obj
        else:
            # Nothing watched refers to it. Unless that changes before its turn, its own edges go with it.
            graph._extra[key] = -1
            self._leaving.append(obj)

    def run(self, until: int | None = None, nodes: int | None = None) -> None:
        """Drop what nothing watched refers to any more, cycles included (trial deletion)."""
        graph = self._get()
        while self._leaving:
            if nodes is not None:
                nodes -= BATCH
                if nodes < 0:
                    return
            places: dict[Block, dict[int, int]] = {}
            for _ in range(min(BATCH, len(self._leaving))):
                node = self._leaving.popleft()
                key = id(node)
                if graph._extra.get(key) != -1:
                    if node in graph:  # referred to again, perhaps only by what it leads to
                        self._doubtful[key] = node
                    continue
                del graph._extra[key]
                self._doubtful.pop(key, None)
                unmet = graph.walk.withdraw(node) if graph.walk else None
                for child in self._take_out(node, places):
                    if unmet and unmet[id(child)] > 0:
                        unmet[id(child)] -= 1
                    else:
                        self.uncount(child)
            if until is not None and perf_counter_ns() >= until:
                return
        while self._doubtful and not graph.walk:
            obj = self._doubtful.pop(next(iter(self._doubtful)))
            if obj in graph:
                self._drop_if_cycle(obj, CYCLE if until is None else CYCLE_IN_SLICES)
            if until is not None and perf_counter_ns() >= until:
                return

    def _take_out(self, node: Any, places: dict[Block, dict[int, int]]) -> list[Any]:
        """Forget a node; what it led to. ``places`` keeps where the nodes of a block lie, for many nodes."""
        graph = self._get()
        block = graph._index.pop(id(node))
        if block is None:
            children = graph.children(node)
            graph.probes.remove(id(node))
            return children
        where = places.get(block)
        if where is None:
            where = places[block] = block.places()
        i = where[id(node)]
        children = graph._children_at(block, i)
        block.remove(i)
        graph._dirty.add(block)
        graph._retire(block)
        return children

    def _drop_if_cycle(self, start: Any, limit: int) -> None:
        graph = self._get()
        inside: dict[int, Any] = {id(start): start}
        internal: dict[int, int] = {}
        todo = [start]
        while todo:
            for child in graph.children(todo.pop()):
                key = id(child)
                if key in graph._index or key in graph.probes.nodes:
                    internal[key] = internal.get(key, 0) + 1
                    if key not in inside:
                        inside[key] = child
                        todo.append(child)
            if len(inside) > limit:  # large and well connected: alive in all likelihood
                return
        live = [
            obj
            for key, obj in inside.items()
            if key in graph._anchored or graph._extra.get(key, 0) + 1 > internal.get(key, 0)
        ]
        while live:
            obj = live.pop()
            if inside.pop(id(obj), None) is not None:
                live.extend(child for child in graph.children(obj) if id(child) in inside)
        places: dict[Block, dict[int, int]] = {}
        for obj in inside.values():
            children = self._take_out(obj, places)
            graph._extra.pop(id(obj), None)
            for child in children:
                child_key = id(child)
                if child_key not in inside and child in graph:
                    extra = graph._extra.pop(child_key, 0)
                    if extra > 1:
                        graph._extra[child_key] = extra - 1
