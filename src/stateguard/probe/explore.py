"""Search the interleavings of an application in this process for a bleed, and make what is found small."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stateguard.errors import StateGuardError
from stateguard.probe.inprocess import protocol_of
from stateguard.probe.isolate import CAN_FORK, TookTooLongError, in_child, on_own_thread
from stateguard.probe.places import Places
from stateguard.probe.requests import fingerprint
from stateguard.probe.shrink import shrink
from stateguard.probe.strategy import Search
from stateguard.probe.switches import Replay, Script, alternating, serial, to_token
from stateguard.probe.trial import Outcome, Subject, run_trial
from stateguard.probe.verdict import Bleed, Result
from stateguard.probe.workers import anyio_backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.probe.plan import Plan
    from stateguard.probe.switches import Point, Policy

HANGS = 3
"""Interleavings in which the application may stop answering before the probe gives up."""

MUTE = 5
"""Interleavings, the first ones, in which nobody may be answered before the probe gives up."""

SHRINKING = 15.0
"""Seconds that making a bleed small may take, beyond those that finding it took."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A bleed in its smallest form: each user's requests, the switches, and the token that repeats it."""

    token: str
    requests: tuple[tuple[int, str], ...]
    switches: tuple[str, ...]
    bleeds: tuple[Bleed, ...]
    points: tuple[Point, ...]
    """Every point that was come by, in order."""
    trials: int
    """Runs that it took to find it."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "token": self.token,
            "requests": [{"user": user, "request": name} for user, name in self.requests],
            "switches": list(self.switches),
            "bleeds": [asdict(bleed) for bleed in self.bleeds],
            "timeline": [list(point) for point in self.points],
            "trials": self.trials,
        }


class Explorer:
    """One search over one application."""

    def __init__(
        self,
        app: Any,
        plan: Plan,
        *,
        protocol: str | None = None,
        guarded: bool = True,
        isolated: bool = CAN_FORK,
        progress: Callable[[Result], None] | None = None,
    ) -> None:
        self._plan = plan = plan.ready()
        anyio_backend()  # here, not again in every child
        self._subject = Subject(
            app,
            protocol or protocol_of(app),
            plan.templates,
            Places(os.getcwd(), _home(app)),
            plan.answer_seconds,
        )
        self.fingerprint = fingerprint(plan.templates)
        self._guarded = guarded
        self._isolated = isolated
        self._progress = progress
        self._slowest = 0.0
        self._hangs = 0
        self._mute = 0
        self.result = Result(plan.users, notes=plan.notes())

    def run(self) -> Result:
        """Search until the bounds are reached, or a bleed is proven and made small."""
        started = time.monotonic()
        self._deadline = started + self._plan.seconds
        search = Search(self._plan.templates, self._plan.users, self._plan.requests, self._plan.seed)
        result = self.result
        for script, policy in search:
            if result.sent + script.size > self._plan.requests:
                if search.opening:
                    continue  # one of the larger runs that come first
                break
            if time.monotonic() >= self._deadline or self._hangs >= HANGS or self._mute >= MUTE:
                break
            outcome = self._try(script, policy)
            if outcome is None:
                continue
            if outcome.halt:
                result.halt = outcome.halt
                break
            search.learn(outcome)
            self._count(outcome)
            if outcome.mute and self._mute == result.schedules - 1:
                self._mute += 1
            if outcome.bled:
                result.seconds = time.monotonic() - started
                self._make_small(Script(script.steps, outcome.switches))
                break
        if self._hangs and not result.bled:
            tried = result.schedules + self._hangs
            result.halt = result.halt or (
                f"the application stopped answering, in {self._hangs} of {tried} interleavings"
            )
        result.seconds = result.seconds or time.monotonic() - started
        return result

    def replay(self, script: Script, quiet: bool = False) -> Result:
        """Repeat one interleaving. What the application prints is shown unless ``quiet``."""
        started = time.monotonic()
        self._deadline = started + self._plan.seconds
        result = self.result = Result(len(script.steps), notes=self._plan.notes())
        outcome = self._try(script, Replay(script.switches), self._guarded, quiet)
        if outcome is None:
            result.halt = result.halt or "the application stopped answering"
        else:
            result.halt = outcome.halt
            result.unmet = [str(point) for point in outcome.missed]
            self._count(outcome)
            if outcome.bled:
                result.shrunk = self._described(script, outcome, 1)
        result.seconds = time.monotonic() - started
        return result

    def _count(self, outcome: Outcome) -> None:
        self.result.schedules += 1
        for exchange in outcome.exchanges:
            self.result.add(exchange)
        if self._progress is not None:
            self._progress(self.result)

    def _try(
        self, script: Script, policy: Policy, guarded: bool = False, quiet: bool = True
    ) -> Outcome | None:
        """Run once; ``None`` if the application stopped answering."""
        started = time.monotonic()
        left = max(0.5, self._deadline - started)
        enough = max(5.0, 10 * self._slowest) if self._slowest else 0.0
        limit = min(left, enough) if enough else left
        work = partial(run_trial, self._subject, script, policy, guarded, self._isolated)
        try:
            outcome = in_child(work, limit, quiet) if self._isolated else on_own_thread(work, limit)
        except TookTooLongError:
            # Cut off by the end of the time, it says nothing about the application.
            self._hangs += limit >= enough
            return None
        except StateGuardError as error:
            return Outcome(halt=str(error))
        self._slowest = max(self._slowest, time.monotonic() - started)
        return outcome

    def _make_small(self, script: Script) -> None:
        self._deadline = time.monotonic() + SHRINKING

        def bleeds(candidate: Script) -> bool:
            if time.monotonic() >= self._deadline:
                return False
            outcome = self._try(candidate, Replay(candidate.switches))
            return outcome is not None and outcome.bled

        begun = 0
        for policy in (serial, alternating):
            # What the many have shown, two of them mostly show as well: much less to make small.
            begun += 1
            two = Script({user: script.steps[min(script.steps)] for user in (0, 1)})
            outcome = self._try(two, policy)
            if outcome is not None and outcome.bled:
                script = Script(two.steps, outcome.switches)
                break
        smallest, trials = shrink(script, bleeds, self.result.bleeds[-1])
        if smallest is None:
            return  # it has happened, but does not happen again from the same start
        self._deadline = time.monotonic() + SHRINKING
        outcome = self._try(smallest, Replay(smallest.switches), self._guarded)
        if (outcome is None or not outcome.bled) and self._guarded:
            outcome = self._try(smallest, Replay(smallest.switches))
        if outcome is None or not outcome.bled:
            return
        self.result.shrunk = self._described(smallest, outcome, begun + trials)
        self.result.bleeds[:0] = self.result.shrunk.bleeds

    def _described(self, script: Script, outcome: Outcome, trials: int) -> Shrunk:
        names = [t.name for t in self._plan.templates]
        return Shrunk(
            to_token(script, self.fingerprint),
            tuple(
                (user, names[index])
                for user, steps in script.steps.items()
                for index in steps
                if index < len(names)
            ),
            tuple(
                f"{point}: user {to} goes on" if point.user >= 0 else f"user {to} begins"
                for point, to in script.switches.items()
            ),
            tuple(bleed for exchange in outcome.exchanges for bleed in exchange.bleeds),
            tuple(outcome.points[:5000]),
            trials,
        )


def _home(app: Any) -> str:
    """The directory of the application's top package."""
    for each in (app, type(app), getattr(app, "func", None)):
        module = sys.modules.get(getattr(each, "__module__", None) or "")
        file = getattr(module, "__file__", None)
        if module is not None and isinstance(file, str) and "site-packages" not in file:
            up = module.__name__.count(".") + (1 if hasattr(module, "__path__") else 0)
            home = os.path.dirname(os.path.realpath(file))
            for _ in range(up):
                home = os.path.dirname(home)
            return home
    return ""
