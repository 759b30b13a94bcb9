"""What a guard costs, and how far behind it is: the figures of :attr:`stateguard.Guard.stats`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
