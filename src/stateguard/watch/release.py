"""Letting go of what nothing watched refers to any more, cycles included, as far as there is time."""

from __future__ import annotations

import weakref
from collections import deque
from itertools import islice
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.watch.cycles import Search
from stateguard.watch.farewell import Farewell

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from stateguard.watch.graph import Graph

Removed = tuple[list[Any], Any]
"""Objects that an edge less leads to, and who has removed that: see :class:`Farewell`."""

BATCH = 32
"""Edges that are taken away between two looks at the clock."""

STACK = 32
"""Nodes that may wait to be searched from; 32 times as many to be taken out."""

TRIES = 3
"""So often a search is begun anew because something has changed meanwhile. Then it is done at once, if it
is one of few nodes."""

PATIENCE = 5_000_000_000
"""Nanoseconds until it is tried again after that."""

FEW = 500
"""Nodes up to which a search is done at once."""


class Release:
    """Takes nodes out of one graph. The caller holds the graph's lock."""

    def __init__(self, graph: Graph) -> None:
        self._graph = weakref.ref(graph)  # no cycle: what a graph holds is let go of with it
        self._leaving: deque[Any] = deque()
        self._gone: deque[tuple[Any, Iterator[Any], list[Any], Any]] = deque()
        """Nodes, each with the ends of edges that are gone and still count; with what has been at those ends,
        and who has dropped it, where that is kept."""
        self._doubtful: dict[int, Any] = {}
        self._search: Search | None = None
        """Whether one of those is held by nothing but what it leads to."""
        self._tries: dict[int, int] = {}
        self._given_up: dict[int, Any] = {}
        """Those that were touched all the time: they are searched from again later."""
        self._later = 0
        self._condemned: dict[int, Any] = {}
        """What a search has found to be garbage and has not been taken out yet. As good as gone: if it is
        held again meanwhile, it is met anew."""
        self._batch: frozenset[int] = frozenset()
        """The ids of all that the latest search has found: edges between them do not count any more."""
        self.farewell = Farewell()
        self._batch_dropper: Any = None
        """Who has dropped what the latest search has found."""

    def _get(self) -> Graph:
        graph = self._graph()
        assert graph is not None, "nodes are let go of by their graph"
        return graph

    def __bool__(self) -> bool:
        return bool(self.leaving or self._doubtful or self._search)

    @property
    def leaving(self) -> bool:
        """Whether nodes wait to be taken out, or may."""
        return bool(self._leaving or self._gone or self._condemned)

    @property
    def is_backlog(self) -> bool:
        """Whether so much waits that it should not become more."""
        return len(self._doubtful) + len(self._leaving) // STACK > STACK

    def is_leaving(self, node: Any) -> bool:
        """Whether nothing leads to a node any more, as far as is known."""
        return id(node) in self._condemned or self._get()._extra.get(id(node)) == -1

    def is_condemned(self, key: int) -> bool:
        """Whether the node of that id is as good as gone."""
        return key in self._condemned

    def revive(self, node: Any) -> bool:
        """Take out a node that is as good as gone, because it is held again. Whether it was."""
        if self._condemned.pop(id(node), None) is None:
            return False
        self._take_out_condemned(node)
        return True

    def uncount_removed(self, removed: list[Removed]) -> None:
        """One edge to each of these is gone."""
        for objects, dropper in removed:
            for obj in objects:
                self.uncount(obj, dropper)

    def uncount(self, obj: Any, dropper: Any) -> None:
        """One edge to an object is gone; with the last one, it leaves."""
        graph = self._get()
        key = id(obj)
        if (key not in graph._index and key not in graph.probes.nodes) or key in self._condemned:
            return
        if self.farewell.wanted:  # asked here, which spares a call for each edge
            self.farewell.note(key, dropper)
        self.touch(key)
        extra = graph._extra.pop(key, 0)
        if extra > 1:
            graph._extra[key] = extra - 1
        if extra < 0:  # it leaves already
            graph._extra[key] = extra
        elif extra > 0:
            self._doubtful[key] = obj
        else:
            # Nothing watched refers to it. Unless that changes before its turn, its own edges go with it.
            graph._extra[key] = -1
            self._leaving.append(obj)

    def uncount_all(self, node: Any, objects: Iterator[Any], values: list[Any], dropper: Any) -> None:
        """The same for many that ``node`` has led to: once it is time, and its new ones have been met.

        ``values``, if wanted, is all that it has referred to, in a list of its own.
        """
        self._gone.append((node, objects, values, dropper))

    def run(self, until: int | None = None) -> None:
        """Drop what nothing watched refers to any more, cycles included, until the clock
        (``perf_counter_ns``) shows ``until``.
        """
        graph = self._get()
        while True:
            if self._gone and not graph.walk.is_open(self._gone[0][0]):
                _, objects, values, dropper = self._gone[0]
                batch = list(islice(objects, BATCH))
                for obj in batch:
                    self.uncount(obj, dropper)
                if self.farewell.wanted:
                    values += batch
                if len(batch) < BATCH:
                    self._gone.popleft()
                    self.farewell.followed(values, dropper, graph._index)
            elif self._leaving:
                self._drop(self._leaving.popleft())
            elif self._condemned:
                self._take_out_condemned(self._condemned.popitem()[1])
            elif not (self._search or self._doubtful):
                return
            elif self._search is None:
                obj = self._doubtful.pop(next(iter(self._doubtful)))
                self.farewell.hold(obj)
                if obj not in graph or graph.ways.stands(obj):
                    self.farewell.forget(id(obj))
                else:
                    self._search = Search(graph, obj)
                    if self._tries.get(id(obj), 0) >= TRIES:  # at once, as far as that goes
                        self._search.go_on(None, FEW)
            elif self._search.go_on(until):
                search, self._search = self._search, None
                self.farewell.hold(search)
                self._found(search)
                if search.open:
                    return
            if until is not None and perf_counter_ns() >= until:
                return

    def try_again(self) -> None:
        """Search once more from what has been given up, if that is long ago."""
        if self._given_up and perf_counter_ns() >= self._later:
            self._doubtful.update(self._given_up)
            self._given_up.clear()

    def touch(self, key: int) -> None:
        """The node of that id has other edges, or others lead to it."""
        if self._search is not None:
            self._search.touch(key)

    def _drop(self, node: Any) -> None:
        """Take out a node that waits for it, and what it alone has led to."""
        graph, key = self._get(), id(node)
        self.farewell.hold(node)
        if graph._extra.get(key) != -1:
            if node in graph:  # referred to again, perhaps only by what it leads to
                self._doubtful[key] = node
            return
        del graph._extra[key]
        self._doubtful.pop(key, None)
        unmet = graph.walk.withdraw(node) if graph.walk else None
        dropper = self.farewell.forget(key)
        values, children = self._take_out(node, dropper)
        self._gone.append((node, _but(children, unmet), values, dropper))

    def _found(self, search: Search) -> None:
        """Let go of what a search has found to be garbage; begin it anew if it says nothing."""
        key = id(search.start)
        if search.open:  # what it leads to is still being met
            self._doubtful[key] = search.start
            return
        if search.touched:
            tries = self._tries.pop(key, 0) + 1
            if tries <= TRIES:
                self._tries[key] = tries
                self._doubtful[key] = search.start
            else:  # somebody is at it all the time
                self._given_up[key] = search.start
                self._later = perf_counter_ns() + PATIENCE
            return
        self._tries.pop(key, None)
        self._condemned = {id(obj): obj for obj in search.garbage}
        self._batch = frozenset(self._condemned)
        self._batch_dropper = self.farewell.forget(key)

    def _take_out_condemned(self, node: Any) -> None:
        batch = self._batch
        self._get()._extra.pop(id(node), None)
        self.farewell.forget(id(node))
        values, children = self._take_out(node, self._batch_dropper)
        objects = (child for child in children if id(child) not in batch)
        self._gone.append((node, objects, values, self._batch_dropper))

    def _take_out(self, node: Any, dropper: Any) -> tuple[list[Any], Iterator[Any]]:
        """Forget a node; what it referred to, and those of that which are watched."""
        graph = self._get()
        values: list[Any] = []
        children = graph.each_child(node)
        block = graph._index.pop(id(node))
        graph.ways.forget(id(node))
        graph._postponed.discard(id(node))
        self._tries.pop(id(node), None)
        self._given_up.pop(id(node), None)
        self.touch(id(node))
        if block is None:
            graph.probes.remove(id(node))
        else:
            i = block.position(node)
            values = self.farewell.taken_out(block, i, dropper)
            block.remove(i)
            graph._dirty.add(block)
            graph._retire(block)
        return values, children


def _but(objects: Iterator[Any], some: Counter[int] | None) -> Iterator[Any]:
    """The others than ``some``, of which there may be several of the same."""
    for obj in objects:
        if some and some[id(obj)] > 0:
            some[id(obj)] -= 1
        else:
            yield obj
