"""How closely to look: exactness costs time, and the budget says how much of it there is.

Three gaits. *Strict*: everything is compared before and after each stretch, so that whatever differs belongs
to that stretch alone. *Brief*: before a stretch only what has changed before is compared, after it everything
but dictionary keys. *Sparse*: looks are spaced so that their share of time stays within the budget, and a
change is found by the next one. What a gait cannot prove is called a suspicion.

The budget is a share of request time: requests that wait for a model or a database leave plenty, a server
that does nothing but spin through tiny requests leaves little.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Literal

Gait = Literal["strict", "brief", "sparse"]

PERIOD = 250_000_000
"""Nanoseconds over which the cost of looking is weighed."""

DEEP_INTERVAL = 20_000_000
"""Nanoseconds between two comparisons of what hardly ever changes (function parts, loggers, signal handlers)
while requests overlap."""

CEILING = 0.8
"""Share of the clock that looking may take at most, however many requests wait at the same time."""

GAIN = 4
"""How much cheaper each gait is than the one before it, at least: the measure for going back."""


class Pace:
    """Chooses the gait for one guard. ``fixed`` keeps it strict whatever it costs."""

    __slots__ = (
        "_area",
        "_changed",
        "_fixed",
        "_flying",
        "_next_deep",
        "_next_look",
        "_since",
        "_spent",
        "budget",
        "gait",
    )

    def __init__(self, budget: float, fixed: bool) -> None:
        self.budget = budget
        self.gait: Gait = "strict"
        self._fixed = fixed or budget >= 1
        self._spent = 0
        self._since = self._changed = perf_counter_ns()
        self._flying = 0
        self._area = 0
        self._next_look = 0
        self._next_deep = 0

    def flying(self, requests: int) -> None:
        """So many requests are being served from now on: their time is what the budget is a share of."""
        now = perf_counter_ns()
        self._area += self._flying * (now - self._changed)
        self._flying, self._changed = requests, now

    def spent(self, started: int) -> None:
        """A look that began at ``started`` (nanoseconds) has ended."""
        now = perf_counter_ns()
        cost = now - started
        self._spent += cost
        if self.gait == "sparse":
            self._next_look = now + int(cost / max(self.budget, 1e-3))

    def due(self) -> bool:
        """Whether the next look may be taken. Always, unless looks are sparse."""
        return self.gait != "sparse" or perf_counter_ns() >= self._next_look

    def deep_due(self, alone: bool) -> bool:
        """Whether to compare what hardly ever changes as well; ``alone``: nothing else is being served."""
        if self._fixed or (alone and self.gait == "strict"):
            return True
        return perf_counter_ns() >= self._next_deep

    def deep_spent(self, started: int) -> None:
        """Such a comparison has ended."""
        now = perf_counter_ns()
        cost = now - started
        self._spent += cost
        self._next_deep = now + max(DEEP_INTERVAL, int(cost / max(self.budget, 1e-3)))

    def weigh(self) -> bool:
        """Once per :data:`PERIOD`: choose the gait for the next one. Whether it was time to."""
        now = perf_counter_ns()
        elapsed = now - self._since
        if elapsed < PERIOD:
            return False
        self.flying(self._flying)
        room = min(self.budget * max(self._area, elapsed), max(CEILING, self.budget) * elapsed)
        spent = self._spent
        self._spent, self._area, self._since = 0, 0, now
        if self._fixed:
            return True
        if spent > room:
            self.gait = "brief" if self.gait == "strict" else "sparse"
        elif spent * GAIN < room:
            # Sparse looks always take what the budget gives while requests keep coming; when they take much
            # less, there is room again.
            self.gait = "brief" if self.gait == "sparse" else "strict"
        return True
