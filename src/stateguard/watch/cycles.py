"""Whether nodes hold nothing but one another: trial deletion, a bit at a time.

The search begins at a node that one reference less leads to, and collects all that it leads to. What is held
from outside of that, and what such nodes lead to, stays; the others are garbage.
"""

from __future__ import annotations

import weakref
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateguard.watch.graph import Graph

LIMIT = 20_000
"""Nodes up to which what a node leads to is searched: beyond, it is alive in all likelihood."""

STRIDE = 16
"""Nodes, or 16 times as many of their children, between two looks at the clock."""


class Search:
    """The search from one node. The caller holds the graph's lock.

    What is found holds only if nothing of what the node leads to has changed since: see :meth:`touch`.
    """

    def __init__(self, graph: Graph, start: Any) -> None:
        self.start = start
        self._inside: dict[int, Any] = {id(start): start}
        self.touched = False
        """Whether something of that has changed: what has been collected says nothing any more."""
        self.open = False
        """Whether it has come to a node whose children are still being met: it can tell nothing yet."""
        self.garbage: list[Any] = []
        """What nothing but itself holds, once the search is over."""
        # Not a method: it would hold what holds it, and all of that until the next collection.
        self._steps = _run(weakref.ref(graph), start, self._inside, self.garbage)

    def touch(self, key: int) -> None:
        """The node of that id has other edges, or others lead to it."""
        if key in self._inside:
            self.touched = True

    def go_on(self, until: int | None, most: int = LIMIT) -> bool:
        """Search until the clock (``perf_counter_ns``) shows ``until``, or more than ``most`` nodes have been
        collected. Whether that is over.
        """
        while not self.touched and len(self._inside) <= most:
            step = next(self._steps, None)
            if step is None:
                return True
            if step:
                self.open = True
                return True
            if until is not None and perf_counter_ns() >= until:
                return False
        return self.touched or len(self._inside) > LIMIT


def _run(
    reference: weakref.ref[Graph], start: Any, inside: dict[int, Any], garbage: list[Any]
) -> Iterator[bool]:
    graph = reference()
    if graph is None:
        return
    internal: dict[int, int] = {}
    for step in _collect(graph, start, inside, internal):
        yield step
        if len(inside) > LIMIT:
            return
    live = []
    for n, (key, obj) in enumerate(list(inside.items())):
        if key in graph._anchored or graph._extra.get(key, 0) + 1 > internal.get(key, 0):
            live.append(obj)
        if not n % (STRIDE * STRIDE):
            yield False
    left = dict(inside)
    while live:
        obj = live.pop()
        if left.pop(id(obj), None) is not None:
            if obj is start:
                return  # and with it all that it leads to
            live.extend(child for child in graph.each_child(obj) if id(child) in left)
            if not len(left) % STRIDE:
                yield False
    garbage.extend(left.values())


def _collect(graph: Graph, start: Any, inside: dict[int, Any], internal: dict[int, int]) -> Iterator[bool]:
    """Note what ``start`` leads to, and how many of the edges to each come from there. ``True``: it cannot be
    told yet.
    """
    todo, work = [start], 0
    while todo:
        work += STRIDE
        node = todo.pop()
        if graph.walk.is_open(node):
            yield True
        for child in graph.each_child(node):
            key = id(child)
            if key in inside or key in graph._index or key in graph.probes.nodes:
                internal[key] = internal.get(key, 0) + 1
                # What stands is alive, with all that it leads to.
                if key not in inside and not graph.ways.stands(child, inside):
                    inside[key] = child
                    todo.append(child)
            work += 1
            if work >= STRIDE * STRIDE:
                work = 0
                yield False
