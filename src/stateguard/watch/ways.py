"""The ways by which nodes are known: from an anchor, through one parent after the other.

A node is known by the way it was met. When that way is gone, because the node was moved or what it hung from
was let go of, another is looked for upwards, from holder to holder: what lies on the way to a node is little,
whatever the size of the graph.
"""

from __future__ import annotations

import types
import weakref
from collections import deque
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.watch.compare import find
from stateguard.watch.edges import Anchor, is_dunder
from stateguard.watch.kinds import Kind
from stateguard.watch.names import is_in_its_module
from stateguard.watch.standin import stands_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateguard.watch.content import Content
    from stateguard.watch.kinds import TypeInfo
    from stateguard.watch.nodes import Nodes

DEPTH = 1000
"""Nodes on a way at most."""


class Ways:
    """The ways of one graph. The caller holds the graph's lock."""

    def __init__(self, graph: Nodes) -> None:
        self._graph = weakref.ref(graph)  # no cycle: what a graph holds is let go of with it
        self._later: dict[int, int] = {}

    def _get(self) -> Nodes:
        graph = self._graph()
        assert graph is not None, "ways are asked for by their graph"
        return graph

    def note(self, key: int, holder: Any) -> None:
        """The node of that id is held by ``holder`` as well from now on: perhaps it is being moved there."""
        self._later[key] = id(holder)

    def forget(self, key: int) -> None:
        """The node of that id is gone."""
        self._later.pop(key, None)

    def stands(self, node: Any, without: dict[int, Any] | None = None) -> bool:
        """Whether a node is certain to be reached still: by the way it is known, or by who held it last.

        ``without``: not through one of those.
        """
        top = self._top(node, without)
        return top is not None and (id(top) in self._get()._anchored or is_in_its_module(top))

    def find(self, node: Any, until: int | None = None) -> bool | None:
        """Know a node, and those on the way to it, by a way that is there; whether there is one.

        Costs a pass through the graph for each node on the way that is to be known anew. ``None`` if the
        clock (``perf_counter_ns``) showed ``until`` before all had been looked at.
        """
        graph = self._get()
        if node not in graph:
            return False
        if self._top(node) is not None:
            return True
        through: dict[int, Any] = {id(node): None}
        todo = deque([node])
        while todo:
            child = todo.popleft()
            for holder in self._holders(child):
                if holder is not None and id(holder) not in through:
                    through[id(holder)] = child
                    if self._top(holder, through) is not None:
                        self._know(holder, through)
                        return True
                    todo.append(holder)
                if until is not None and perf_counter_ns() >= until:
                    return None
        return False

    def _top(self, node: Any, without: dict[int, Any] | None = None) -> Any:
        """The topmost node of the way to ``node``, the one that is known by an anchor; ``None`` if the way is
        there no more, or leads through one of those ``without`` which it is to be.
        """
        graph = self._get()
        seen: set[int] = set()
        adopted: list[tuple[Any, Any]] = []
        while len(seen) < DEPTH:
            key = id(node)
            seen.add(key)
            parent = graph.parent(node)
            if type(parent) is Anchor:
                for child, holder in adopted:
                    graph._set_parent(child, holder)
                return node
            if parent is None or not self._leads(parent, node):
                parent = graph._node_at(self._later.get(key, 0))
                if parent is None or not self._leads(parent, node):
                    return None
                adopted.append((node, parent))
            if id(parent) in seen or (without is not None and id(parent) in without):
                return None
            node = parent
        return None

    def _know(self, holder: Any, through: dict[int, Any]) -> None:
        """Know those on the way down from ``holder`` by it."""
        child = through[id(holder)]
        while child is not None:
            self._get()._set_parent(child, holder)
            holder, child = child, through[id(child)]

    def _leads(self, parent: Any, node: Any) -> bool:
        """Whether a node held ``node`` when last looked at."""
        graph = self._get()
        block = graph._index.get(id(parent))
        known = graph.content(parent)
        if known is None:
            return False
        info, content = known
        if content.keys is not None:
            if self._has_entry(info, content, node):
                return True
        elif block is not None and block.refers(block.position(parent), node):
            return True
        slots = (content.slots or {}).values()
        if info.kind is Kind.THROUGH and type(parent) is types.FunctionType:
            return True  # what it is made around: no part of its content
        if content.own is node or (
            content.keys is None and find(content.values, node, 0, len(content.values)) >= 0
        ):
            return True
        if id(node) not in graph.probes.nodes:
            return any(value is node for value in slots)
        return any(stands_for(value, node) for value in (*content.values, *slots))

    @staticmethod
    def _has_entry(info: TypeInfo, content: Content, node: Any) -> bool:
        """Whether a mapping has a node under a name that is followed, or for a key."""
        keys, at = content.keys or [], -1
        while (at := find(content.values, node, at + 1, len(keys))) >= 0:
            name = keys[at]
            if type(name) is not str or not (is_dunder(name) or (info.only and name not in info.only)):
                return True
        return find(keys, node, 0, len(keys)) >= 0

    def _holders(self, node: Any) -> Iterator[Any]:
        """The nodes that held ``node``; ``None`` now and then, to look at the clock."""
        graph = self._get()
        parent = graph.parent(node)  # an instance does not refer to its dictionary where that lies inside
        if type(parent) is not Anchor and parent is not None and self._leads(parent, node):
            yield parent
        for block in graph._all_blocks():
            for i in block.referring(node):
                # What an instance refers to may be what its dictionary holds.
                for holder in (block.nodes[i], block.content(i).own):
                    if holder in graph and any(child is node for child in graph.each_child(holder)):
                        yield holder
            yield None
