"""What a guard costs, and how far behind it is: the figures of :attr:`stateguard.Guard.stats`."""

from __future__ import annotations

import weakref
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.engine import Engine
    from stateguard.pace import Pace
    from stateguard.watch.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The guard's own account of itself, since it was made (in a forked worker: since the fork).

    All times are in seconds of the wall clock. What the guard does outside of looking, such as opening a
    scope, is not in them.
    """

    ready: bool = False
    """Whether the baseline has been taken. Until then nothing is compared."""
    gait: str = "strict"
    """How closely the guard looks at present: ``"strict"``, ``"brief"`` or ``"sparse"``."""
    slicing: bool = False
    """Whether a comparison of everything would last longer than ``max_pause`` and is done in slices."""
    checks: int = 0
    """How often state was compared, slices not included."""
    slices: int = 0
    """How many slices were looked at."""
    seconds: float = 0.0
    """Time spent looking, describing what was found included."""
    request_seconds: float = 0.0
    """Time for which requests were being served, that of all requests added up. While requests pass, looks
    being sparse, it is taken of one in sixteen."""
    longest_pause: float = 0.0
    """The longest single look so far, the baseline not included."""
    walk_seconds: float = 0.0
    """Time spent taking the baseline."""
    requests: int = 0
    """Requests that have begun."""
    nodes: int = 0
    """Mutable objects that are watched."""
    lag_seconds: float = 0.0
    """How long a change to what had not changed before may stay unseen at present: the duration of the latest
    round through all nodes. 0 where every look takes in everything."""
    lag_requests: int = 0
    """The same in requests: how many began during that round."""
    rounds: int = 0
    """How often every node has been looked at in slices."""
    memory: int = 0
    """Bytes that the snapshot takes, about: measured on a sample."""

    @property
    def share(self) -> float:
        """Time spent looking as a share of request time; 0 before the first request."""
        return self.seconds / self.request_seconds if self.request_seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All figures and :attr:`share`, for JSON and for metrics."""
        return {**asdict(self), "share": self.share}


class Tally:
    """Counts for one engine. The caller holds the guard's lock, or does not mind a lost count."""

    __slots__ = ("checks", "lag_requests", "longest", "ns", "requests", "slices", "started_round", "walk_ns")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew: in the child of a fork."""
        self.checks = self.slices = self.requests = 0
        self.ns = self.longest = self.walk_ns = 0
        self.lag_requests = self.started_round = 0

    def stats(self, pace: Pace, graph: Graph | None, ready: bool) -> Stats:
        """The figures so far."""
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


def figures_of(engine: Engine) -> Callable[[], dict[str, float]]:
    """What gives the present figures as numbers, and none once the engine is gone: it does not keep it."""
    known = weakref.ref(engine)

    def ask() -> dict[str, float]:
        found = known()
        if found is None:
            return {}
        return {k: float(v) for k, v in found.stats().to_dict().items() if not isinstance(v, (str, bool))}

    return ask
