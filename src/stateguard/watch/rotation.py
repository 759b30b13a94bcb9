"""The round: every node in turn, a few at a time, where comparing all of them at once takes too long."""

from __future__ import annotations

import weakref
from time import perf_counter_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.watch.block import Block
    from stateguard.watch.graph import Graph


class Rotation:
    """The order in which one graph is looked at in slices.

    What comes during a round has just been read, and waits for the next one; what goes is passed over.
    """

    __slots__ = ("_began", "_graph", "_left", "rounds", "seconds")

    def __init__(self, graph: Graph) -> None:
        self._graph = weakref.ref(graph)  # no cycle: what a graph holds is let go of with it
        self._left: list[Block | int] = []
        self._began = 0
        self.rounds = 0
        """How often every node has been looked at."""
        self.seconds = 0.0
        """How long the latest complete round took."""

    def lag(self) -> float:
        """Seconds that the latest round took, or the one under way if that is longer already."""
        under_way = (perf_counter_ns() - self._began) / 1e9 if self._began else 0.0
        return max(self.seconds, under_way)

    def next(self) -> Block | int | None:
        """The block or the probe whose turn it is; ``None`` if there is nothing to look at."""
        left = self._left
        while left:
            unit = left.pop()
            if isinstance(unit, int) or len(unit):
                return unit
        self._begin()
        return left.pop() if left else None

    def restart(self) -> None:
        """Begin anew: what has been looked at in the round under way does not count."""
        self._left.clear()
        self._began = 0

    def again(self, unit: Block) -> None:
        """More of it differs than there was time for: it is still its turn."""
        self._left.append(unit)

    def _begin(self) -> None:
        now = perf_counter_ns()
        if self._began:
            self.rounds += 1
            self.seconds = (now - self._began) / 1e9
        self._began = now
        graph = self._graph()
        if graph is not None:
            self._left += [*graph.probes.nodes, *graph.cold, *graph.blocks, *graph.spaces]
            self._left += [block for block in graph.hot if graph.is_glanced_at(block)]
