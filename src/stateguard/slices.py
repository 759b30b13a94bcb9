"""State that is too large to be compared at once is compared in slices, in rounds through all of it."""

from __future__ import annotations

import logging
from contextlib import suppress
from time import perf_counter_ns
from typing import TYPE_CHECKING

from stateguard.leak import SUSPECTS
from stateguard.messages import see
from stateguard.settling import each_once, nowhere

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateguard.attribution.request import GuardedRequest
    from stateguard.engine import Engine
    from stateguard.passing import PassingScope
    from stateguard.watch.watcher import Seen

logger = logging.getLogger("stateguard")


class Slices:
    """The rounds of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._served: dict[int, GuardedRequest | PassingScope] = {}
        """The latest requests that have had a stretch in this round."""
        self._earlier: dict[int, GuardedRequest | PassingScope] = {}
        """The same of the round before: what differs now may have been compared at its beginning."""
        self._began = self._began_earlier = 0
        """How many requests had ended when each of the two began."""
        self._said = False
        self._partial = self._partial_deep = False
        """Whether the latest look has left out a part, or a part of what hardly ever changes."""

    def slow_down(self) -> None:
        """Follow the pace: when slicing, nothing is walked at once, and it is said once."""
        watcher, pace = self._engine.watcher, self._engine.pace
        if watcher is None:
            return
        watcher.graph.eager = not pace.slicing
        self._engine.finder.slow_down(pace.slicing)
        if pace.slicing and not self._said:
            self._said = True
            logger.warning(
                "stateguard: comparing %s watched objects, and following what changes in them, would pause "
                "longer than %.3g ms at once, so it is done in slices. What has changed before is compared "
                "around every step, as far as the budget allows; a change to anything else is found within "
                "one round, see guard.stats (%s)",
                f"{len(watcher.graph):,}",
                pace.max_pause / 1e6,
                see("slices"),
            )

    def take_over(self) -> None:
        """What has not been walked yet has its turn in the round from now on."""
        watcher, pace = self._engine.watcher, self._engine.pace
        if watcher is not None and watcher.graph.unsettled and not pace.slicing:
            pace.fall_behind()
            self.slow_down()

    def fall_behind(self, suspects: list[GuardedRequest | PassingScope]) -> None:
        """A look had no time for all that differed: any of the ``suspects`` may have written the rest."""
        watcher, pace, engine = self._engine.watcher, self._engine.pace, self._engine
        if watcher is None:
            return
        if not pace.slicing:
            watcher.graph.rotation.restart()  # a round from here on
            self._began = self._began_earlier = max(engine.over - len(suspects), 0)
            pace.fall_behind()
            self.slow_down()
        self.partly()
        self._partial_deep = True
        for one in suspects:
            self.note(one)

    def note(self, one: GuardedRequest | PassingScope) -> None:
        """It has had a stretch meanwhile."""
        self._served[id(one)] = one
        if len(self._served) > SUSPECTS:  # that it is full stays known
            with suppress(RuntimeError, StopIteration):  # another thread may be at it as well
                self._served.pop(next(iter(self._served)), None)

    def _suspects(self) -> list[GuardedRequest | PassingScope]:
        """The latest first: who has come in this round may certainly have written what differs now."""
        return list({**self._earlier, **self._served}.values())[::-1]

    def _among(self) -> int:
        """About how many have had a stretch since what differs was compared: as many as in a whole round, if
        more may have been than are remembered; else 0."""
        if len(self._served) < SUSPECTS and len(self._earlier) < SUSPECTS:
            return 0
        return max(self._began - self._began_earlier, self._engine.tally.requests - self._began, 1)

    def _next_round(self) -> None:
        """All has been compared, but for what was being walked: that is as old as it was."""
        engine, watcher = self._engine, self._engine.watcher
        served, self._served = self._served, {}
        if watcher is not None and watcher.graph.owing:
            self._earlier = dict(list({**self._earlier, **served}.items())[-SUSPECTS:])
        else:
            self._earlier, self._began_earlier = served, self._began
        self._began = engine.over

    def partly(self) -> None:
        """A look at a part of state, or at nothing but a slice: what is not in there may have changed."""
        self._partial = True

    def catch_up(self) -> None:
        """All is about to be compared at once, perhaps for the first time since slices were: anybody served
        meanwhile may have written what differs, and nobody in particular has."""
        if self._partial:
            among = self._among()
            over = self._engine.tally.requests - among if among else self._began_earlier
            self._engine.unseen.inherit(self._suspects(), over)
            self._partial = False  # last: a signal handler may raise

    def catch_up_deep(self, slicing: bool) -> tuple[list[GuardedRequest | PassingScope], int]:
        """The same of what hardly ever changes, left to the slices while ``slicing``. Those served, and about
        how many they were if these are not all, else 0."""
        late = not slicing and (self._partial_deep or self._partial)
        self._partial_deep = slicing
        served, among = (self._suspects(), self._among()) if late else ([], 0)
        if not slicing and not self._partial:
            self._served, self._earlier = {}, {}  # all has been compared since, with this
            self._began = self._began_earlier = self._engine.over
        return served, among

    def look(self) -> None:
        """Go on with the round, if its share of time allows; the lock is held."""
        engine = self._engine
        watcher, pace = engine.watcher, engine.pace
        until = pace.slice()
        if watcher is None or not until or not engine.started:
            return
        started = perf_counter_ns()
        rotation = watcher.graph.rotation
        rounds = rotation.rounds
        try:
            engine.looking = True
            seen = watcher.check_slice(until)
            if seen:
                self.settle(seen)
            watcher.told()
        except Exception:
            engine.started = False
            engine.failed("comparing shared state")
        finally:
            engine.looking = False
            engine.tally.slice(pace.slice_spent(started), rotation.rounds != rounds)
            if rotation.rounds != rounds:
                self._next_round()
        if rotation.rounds != rounds and not watcher.graph.owing:
            pace.expect(watcher.graph.cost)
            self.slow_down()

    def settle(self, seen: list[Seen], others: Iterable[GuardedRequest] = ()) -> None:
        """This may have been written by anybody since the round before, and by ``others``."""
        engine = self._engine
        # First: whoever ends is noted as unseen, and only then leaves the ledger.
        running = engine.ledger.running()
        # Who was let pass says so when it is asked for, and not at each step.
        served = (*self._suspects(), *engine.unseen.suspects())
        suspects = each_once(*running, *others, *map(engine.passing.request, served))
        among = max(self._among(), engine.unseen.among(engine.tally.requests))
        engine.settling.record(seen, suspects, unproven=True, locate=nowhere, among=among)

    def clear(self) -> None:
        """Nobody is being served: after a fork, or at the end."""
        self._served.clear()
        self._earlier.clear()
        self._began = self._began_earlier = 0
        self._partial = self._partial_deep = False
