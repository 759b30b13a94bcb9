"""How closely to look: exactness costs time, and the budget says how much of it there is.

Three gaits. *Strict*: everything is compared before and after each stretch, so that whatever differs belongs
to that stretch alone. *Brief*: before a stretch only what has changed before is compared, after it everything
but dictionary keys. *Sparse*: looks are spaced so that their share of time stays within the budget, and a
change is found by the next one. What a gait cannot prove is called a suspicion.

Whatever the gait, no look may last longer than ``max_pause``. Where comparing everything would, the guard
*slices*: around each stretch it compares what has changed before, and of the rest a slice at a time, so that
every node has its turn.

The budget is a share of request time: requests that wait for a model or a database leave plenty, a server
that does nothing but spin through tiny requests leaves little. What nobody else would use costs no request
anything, so only time in which the process is idle may be spent beyond the budget's share of the clock. A
process that waits for a processor is not idle.
"""

from __future__ import annotations

from time import perf_counter_ns, process_time_ns
from typing import Literal

from stateguard.short import PaceNumbers
from stateguard.waiting import waited

Gait = Literal["strict", "brief", "sparse"]

PERIOD = 250_000_000
"""Nanoseconds over which the cost of looking is weighed."""

PATIENCE = 4
"""Periods in a row for which a busy process is looked at beyond the budget's share of the clock before the
guard looks less closely: exactness in a burst of requests is worth a moment's work."""

DEEP_INTERVAL = 20_000_000
"""Nanoseconds between two comparisons of what hardly ever changes (function parts, loggers, signal handlers)
while requests overlap."""

CEILING = 0.25
"""Share of the time that the application leaves idle which looking may take at most. Whoever wakes up during
a look waits for its end: on an event loop, which is idle until all of its requests want something at once,
the share of it that looks take is what all of them wait."""

VAIN = 2
"""So many times what a whole period is allowed, spent within a part of it, end an attempt to look closely."""

RETURNS = 16
"""So many periods in a row with room to spare, at most, are asked for before the guard looks more closely."""

LEAST = 0.25
"""The part of the budget that is for looks however much goes into handling requests."""

IN_FULL = 10
"""A request that is guarded at every step costs about so many times what one does that is let pass, looks
aside: 13 where the short way is compiled, 6 where it is not, measured in a Starlette application that watches
next to nothing."""

GAIN = 4
"""How much cheaper each gait is than the one before it, at least: the measure for going back."""

ASIDE = 3
"""A look among requests that pass costs them so many times what it lasts, at most: there is the way to it and
back, a third of it, and then the caches hold what was looked at in place of theirs. 1.8 and 2.7 were
measured, for a look of 58 microseconds after which a threaded Flask application went on."""

APART = 1600
"""So many requests at least lie between two looks while those are sparse, where it would show if more were
held up: who looks at the slowest hundredth must not see the guard. A look holds up all that wait for the
process, also those it has not heard of. If they are eight, one of two hundred waits for a look."""

SHOWS = 16
"""A look shows that lasts longer than this part of the time for which a request is served."""

SLICE = 250_000
"""Nanoseconds that a slice takes at most, if ``max_pause`` does not ask for less: many short ones delay
nobody by much."""

LOOKS = 8
"""So many looks at everything in a row must take longer than ``max_pause`` before the guard slices: anything
else on the machine can make a single one last."""


class Pace(PaceNumbers):
    """Chooses the gait for one guard. ``fixed`` keeps it strict whatever it costs.

    ``max_pause`` is in seconds.
    """

    __slots__ = (
        "_apart",
        "_area",
        "_area_before",
        "_behind",
        "_calm",
        "_changed",
        "_closer",
        "_cost",
        "_fastest",
        "_flying",
        "_foregone",
        "_handled",
        "_looks",
        "_next_deep",
        "_next_slice",
        "_over",
        "_queued",
        "_rarely",
        "_rate",
        "_share",
        "_since",
        "_since_look",
        "_sliced",
        "_spent",
        "_taken",
        "_used",
        "_wait",
        "_waited",
        "budget",
        "fixed",
        "gait",
        "handling",
        "max_pause",
        "next_weighing",
        "slicing",
    )

    def __init__(self, budget: float, fixed: bool, max_pause: float = 0.002) -> None:
        self.budget = budget
        self.max_pause = int(max_pause * 1e9)
        self.gait: Gait = "strict"
        self.fixed = fixed or budget >= 1
        self.slicing = False
        """Whether looking at everything at once would take longer than ``max_pause``."""
        self.handling = 0
        """Nanoseconds that a request costs beside looking. Part of the budget: what is left is for looks."""
        self._handled = 0
        self._rarely = max(budget, 1e-3)
        """The share of the clock that is left for looks while they are sparse."""
        self._spent = 0
        self._taken = 0
        """How long a request took in the latest period, in the mean."""
        self._apart = 0
        """How long it took until so many had come that another look would hold up few of them."""
        self._rate = 0.0
        """The share of the clock that looks forego, because they are rarer than the budget asks for."""
        self._foregone = self._since_look = self._cost = 0
        self._sliced = 0
        self._queued = 0
        self._share = max(budget, 1e-3)
        self._since = self._changed = perf_counter_ns()
        self.next_weighing = self._since + PERIOD
        self._used = process_time_ns()
        self._waited = 0 if self.fixed else waited()
        self._flying = 0
        self._area = 0
        self._area_before = 0
        self.next_look = 0
        """When (``perf_counter_ns``) the next look may be taken while looks are sparse."""
        self._next_deep = 0
        self._next_slice = 0
        self._looks = 0
        self._behind = False
        self._fastest = 0
        self._over = 0
        self._calm = 0
        self._wait = 1
        self._closer = PATIENCE + 1

    def flying(self, requests: int) -> None:
        """So many requests are being served from now on: their time is what the budget is a share of."""
        now = perf_counter_ns()
        self._area += self._flying * (now - self._changed)
        self._flying, self._changed = requests, now

    def served(self, ns: int) -> None:
        """Requests that are not among those flying have taken so many nanoseconds."""
        self._area += ns

    def request_ns(self) -> int:
        """Nanoseconds for which requests have been served so far, those of all requests added up."""
        return self._area_before + self._area + self._flying * (perf_counter_ns() - self._changed)

    def spent(self, started: int, whole: bool = False) -> int:
        """A look that began at ``started`` has ended, one at everything if ``whole``. Nanoseconds it took."""
        now = perf_counter_ns()
        cost = now - started
        self._spent += cost
        if self.gait == "sparse":
            self._look_later(now, cost)
        if whole and not self.slicing:
            self._weigh_look(cost)
        return cost

    def _look_later(self, now: int, cost: int) -> None:
        self._count_foregone(now)
        wait = int(ASIDE * cost / self._rarely)
        # With each look comes a slice, and those have to get round.
        longest = self._apart if cost * SHOWS > self._taken and not self.slicing else 0
        self._rate = cost / wait - cost / longest if longest > wait else 0.0
        self._cost = cost
        self._since_look = now
        self.next_look = now + max(wait, longest)

    def _count_foregone(self, now: int) -> None:
        """What the budget would have allowed while looks were rarer than that is no sign of room."""
        end = min(now, self.next_look)
        self._foregone += int(self._rate * max(end - self._since_look, 0))
        self._since_look = end

    def queue(self, ns: int) -> None:
        """Requests have waited so long for their turn to look: that is no less a cost than looking is."""
        self._spent += ns
        self._queued += ns

    def _weigh_look(self, cost: int) -> None:
        self._fastest = cost if not self._looks else min(cost, self._fastest)
        self._looks += 1
        if self._fastest <= self.max_pause:
            self._looks = 0
        elif self._looks >= LOOKS and not self.fixed:
            self.slicing = True

    def expect(self, cost: int) -> None:
        """Looking at everything at once is expected to take so many nanoseconds: choose by that."""
        self._looks = 0
        # Where it was comparing that took too long, not before there is room to spare.
        most = self.max_pause // 2 if self.slicing and not self._behind else self.max_pause
        self.slicing = not self.fixed and cost > most
        self._behind = self._behind and self.slicing

    def fall_behind(self) -> None:
        """There is more to follow than a look has time for: that is left to slices, for a round at least."""
        self._behind = self._behind or not self.slicing
        self.slicing = True

    def due(self) -> bool:
        """Whether the next look may be taken. Always, unless looks are sparse."""
        return self.gait != "sparse" or perf_counter_ns() >= self.next_look

    def slice(self) -> int:
        """Until when (``perf_counter_ns``) the slice may last that may be taken now; 0 if none may."""
        now = perf_counter_ns()
        if now < self._next_slice:
            self._wait_for_slice()
            return 0
        return now + min(SLICE, self.max_pause)

    def _wait_for_slice(self) -> None:
        if self.gait == "sparse":  # until then, nobody need ask
            self.next_look = max(self.next_look, self._next_slice)

    def slice_spent(self, started: int) -> int:
        """A slice has ended. Nanoseconds it took."""
        now = perf_counter_ns()
        cost = now - started
        self._sliced += cost
        self._next_slice = now + int(cost / self._share)
        self._wait_for_slice()
        return cost

    def deep_due(self, alone: bool) -> bool:
        """Whether to compare what hardly ever changes as well; ``alone``: nothing else is being served."""
        if self.fixed or (alone and self.gait == "strict" and not self.slicing):
            return True
        return perf_counter_ns() >= self._next_deep

    def deep_spent(self, started: int) -> int:
        """Such a comparison has ended. Nanoseconds it took."""
        now = perf_counter_ns()
        cost = now - started
        self._spent += cost
        self._next_deep = now + max(DEEP_INTERVAL, int(cost / max(self.budget, 1e-3)))
        return cost

    def weigh(self, requests: int = 0) -> bool:
        """Once per :data:`PERIOD`: choose the gait for the next one. Whether it was time to.

        ``requests`` is how many have begun so far.
        """
        now = perf_counter_ns()
        elapsed = now - self._since
        if elapsed < PERIOD and not (
            # An attempt to look more closely need not last longer than it takes to see that it is vain.
            not self.fixed
            and (
                (self._closer <= PATIENCE and self._spent > VAIN * self.budget * PERIOD)
                # Threads that queue for their turns hold each other up: there is nothing to wait for.
                or self._queued > max(CEILING, self.budget) * PERIOD
            )
        ):
            return False
        if requests < self._handled:  # counted anew: in the child of a fork
            self._handled = 0
        begun = requests - self._handled
        handling = self.handling * begun / elapsed
        in_full = handling * IN_FULL
        if self.gait != "sparse":
            handling = in_full
        self._handled = requests
        self._count_foregone(now)
        # What the same looks would have taken with all of the budget for them. A request gives rise to one.
        spent = max(self._spent, min(self._spent + self._foregone, self._cost * begun))
        had = spent * max(self.budget / self._rarely, 1) if self.gait == "sparse" else spent
        self._rarely = max(self.budget - handling, self.budget * LEAST, 1e-3)
        self.flying(self._flying)
        used = process_time_ns()
        waiting = 0 if self.fixed else waited()
        application = used - self._used - self._spent - self._sliced
        idle = max(0, elapsed - max(0, application) - max(0, waiting - self._waited))
        room = min(
            self.budget * max(self._area, elapsed),
            max(self.budget * elapsed, CEILING * idle),
        )
        area = self._area
        self._area_before += area
        self._taken = area // max(begun, 1)
        self._apart = min(APART * elapsed // max(begun, 1), PERIOD * 3 // 4)
        self._spent, self._sliced, self._area, self._since, self._used = 0, 0, 0, now, used
        self._foregone = self._queued = 0
        self._waited = waiting
        self.next_weighing = now + PERIOD
        toll = int(handling * elapsed)
        self._share = max(room - spent - toll, room * LEAST, 1e-3 * elapsed) / elapsed
        if self.fixed:
            return True
        if self.gait != "sparse":  # what it costs to look closely is not the looks alone
            spent += toll
        if spent > min(self.budget * max(area, elapsed), max(CEILING, self.budget) * elapsed):
            self._over = PATIENCE  # more than can be justified by anything
        else:
            self._over = self._over + 1 if spent > room else 0
        self._closer += 1
        # Where looking more closely has just been tried, it takes one period to know that it was too much.
        if self._over >= (1 if self._closer <= PATIENCE else PATIENCE):
            self._over = self._calm = 0
            self.gait = "brief" if self.gait == "strict" else "sparse"
            if self._closer <= PATIENCE:
                # Looking more closely has turned out to be too much at once: requests come in bursts, and the
                # room was between them. Each vain attempt costs the next burst its beginning.
                self._wait = min(2 * self._wait, RETURNS)
        elif had * GAIN + in_full * elapsed < room:
            # Sparse looks always take what the budget gives while requests keep coming; when they take much
            # less, there is room again.
            self._calm += 1
            if self.gait != "strict" and self._calm >= self._wait:
                self._calm = self._closer = 0
                self.gait = "brief" if self.gait == "sparse" else "strict"
        else:
            self._calm = 0
        if self._closer > PATIENCE and self.gait == "strict":
            self._wait = 1
        return True
