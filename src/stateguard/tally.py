"""What an engine counts of its own work."""

from __future__ import annotations

import weakref
from _thread import get_ident
from typing import TYPE_CHECKING

from stateguard.parallel import PARALLEL
from stateguard.short import TallyNumbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.engine import Engine
    from stateguard.pace import Pace
    from stateguard.stats import Stats
    from stateguard.watch.graph import Graph


class Tally(TallyNumbers):
    """Counts for one engine. The caller holds the guard's lock, or does not mind a lost count."""

    __slots__ = ("checks", "lag_requests", "longest", "ns", "slices", "started_round", "walk_ns")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew: in the child of a fork."""
        self.checks = self.slices = self.requests = 0
        self.ns = self.longest = self.walk_ns = 0
        self.lag_requests = self.started_round = 0

    def stats(self, pace: Pace, graph: Graph | None, ready: bool) -> Stats:
        """The figures so far."""
        from stateguard.stats import Stats  # here: many never ask

        lagging = graph is not None and pace.slicing
        return Stats(
            ready=ready and graph is not None,
            gait=pace.gait,
            slicing=pace.slicing,
            checks=self.checks,
            slices=self.slices,
            seconds=self.ns / 1e9,
            request_seconds=pace.request_ns() / 1e9,
            longest_pause=self.longest / 1e9,
            walk_seconds=self.walk_ns / 1e9,
            requests=self.requests,
            nodes=0 if graph is None else len(graph),
            lag_seconds=graph.rotation.lag() if graph is not None and lagging else 0.0,
            lag_requests=self.lag() if lagging else 0,
            rounds=0 if graph is None else graph.rotation.rounds,
            memory=0 if graph is None else graph.memory(),
        )

    def lag(self) -> int:
        """Requests during the latest round, or during the one under way if those are more already."""
        return max(self.lag_requests, self.requests - self.started_round)

    def look(self, cost: int) -> None:
        """A comparison has taken ``cost`` nanoseconds."""
        self.checks += 1
        self.ns += cost
        self.longest = max(self.longest, cost)

    def slice(self, cost: int, whole_round: bool) -> None:
        """A slice has; with it, every node has been looked at once more if ``whole_round``."""
        self.slices += 1
        self.ns += cost
        self.longest = max(self.longest, cost)
        if whole_round:
            self.lag_requests = self.requests - self.started_round
            self.started_round = self.requests


class ParallelTally(Tally):
    """The same where requests begin on several threads at the same instant: none of them is lost.

    ``tally.requests += 1`` reads and writes; each thread writes to a count of its own, which it adds one to.
    """

    __slots__ = ("_begun",)

    _begun: dict[int, int]

    @property
    def requests(self) -> int:
        """Requests that have begun."""
        return sum(list(self._begun.values()))

    @requests.setter
    def requests(self, value: int) -> None:
        if value:
            mine = get_ident()
            self._begun[mine] = self._begun.get(mine, 0) + 1
        else:
            self._begun = {}


new_tally: type[Tally] = ParallelTally if PARALLEL else Tally
"""The kind of tally for this build of Python."""


def figures_of(engine: Engine) -> Callable[[], dict[str, float]]:
    """What gives the present figures as numbers, and none once the engine is gone: it does not keep it."""
    known = weakref.ref(engine)

    def ask() -> dict[str, float]:
        found = known()
        if found is None:
            return {}
        return {k: float(v) for k, v in found.stats().to_dict().items() if not isinstance(v, (str, bool))}

    return ask
