"""Make a script that bleeds small: fewest requests first, then fewest switches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.probe.switches import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stateguard.probe.switches import Point
    from stateguard.probe.verdict import Bleed

MOST = 150
"""Candidates that are tried."""


class _Shrinker:
    def __init__(self, script: Script, bleeds: Callable[[Script], bool]) -> None:
        self.script = script
        self._bleeds = bleeds
        self.trials = 0

    def accept(self, candidate: Script) -> bool:
        """Go on from ``candidate`` if it still bleeds."""
        if self.trials >= MOST or candidate.size < 1:
            return False
        self.trials += 1
        if not self._bleeds(candidate):
            return False
        self.script = candidate
        return True

    def without_requests(self, gone: set[tuple[int, int]]) -> Script:
        """The script less some requests, given by user and place in the user's list."""
        steps = {
            user: tuple(step for at, step in enumerate(indices) if (user, at) not in gone)
            for user, indices in self.script.steps.items()
        }
        fewer = _with(self.script, {user: indices for user, indices in steps.items() if indices})
        moved = {}
        for point, to in fewer.switches.items():
            if (point.user, point.turn - 1) not in gone:
                before = sum(user == point.user and at < point.turn - 1 for user, at in gone)
                moved[point._replace(turn=point.turn - before)] = to
        return Script(fewer.steps, moved)

    def fewer_requests(self) -> bool:
        """Leave out whole users, then single requests. Whether anything could be left out."""
        before = self.script.size
        for user in list(self.script.steps):
            if len(self.script.steps) > 1:
                self.accept(self.without_requests({(user, at) for at in range(len(self.script.steps[user]))}))
        # The same request of everybody: one user's alone would be missed by the others' switches.
        for at in reversed(range(max(map(len, self.script.steps.values())))):
            self.accept(self.without_requests({(user, at) for user in self.script.steps}))
        for user in list(self.script.steps):
            for at in reversed(range(len(self.script.steps[user]))):
                if user in self.script.steps:
                    self.accept(self.without_requests({(user, at)}))
        return self.script.size < before

    def fewer_switches(self) -> None:
        """Delta debugging (Zeller and Hildebrandt, 2002): leave out ever smaller parts."""
        parts = 1
        while self.script.switches:
            points = list(self.script.switches)
            size = max(1, -(-len(points) // parts))
            for start in range(0, len(points), size):
                if self.accept(self._without_switches(points[start : start + size])):
                    parts = max(1, parts - 1)
                    break
            else:
                if size == 1:
                    return
                parts = min(len(points), parts * 2)

    def _without_switches(self, gone: Iterable[Point]) -> Script:
        left = dict(self.script.switches)
        for point in gone:
            del left[point]
        return Script(self.script.steps, left)


def _with(script: Script, steps: Mapping[int, tuple[int, ...]]) -> Script:
    """Fewer users' requests, and the switches that still mean something.

    One to a user who is gone goes to the next who is there, as it would have come to them in the end.
    """
    users = sorted(steps)
    switches = {}
    for point, to in script.switches.items():
        if point.user in steps or point.user < 0:
            there = next((user for user in users if user >= to), users[0])
            if there != point.user:
                switches[point] = there
    return Script(steps, switches)


def _renumbered(script: Script) -> Script:
    """The same with users 0, 1, 2: their order, and thus who goes first, stays."""
    new = {user: number for number, user in enumerate(sorted(script.steps))} | {-1: -1}
    return Script(
        {new[user]: steps for user, steps in sorted(script.steps.items())},
        {point._replace(user=new[point.user]): new[to] for point, to in script.switches.items()},
    )


def shrink(script: Script, bleeds: Callable[[Script], bool], bleed: Bleed) -> tuple[Script | None, int]:
    """The smallest script found that still bleeds, and the number of runs that took.

    ``None`` if ``script`` itself does not bleed when it is repeated.
    """
    shrinker = _Shrinker(script, bleeds)
    if not shrinker.accept(script) and not shrinker.accept(script):
        return None, shrinker.trials
    two = {user: script.steps[user] for user in (bleed.owner, bleed.reader) if user in script.steps}
    if len(two) < len(script.steps):
        alone = Script(dict(sorted(two.items())))
        if not shrinker.accept(alone):
            shrinker.accept(_with(script, alone.steps))
    while True:
        while shrinker.fewer_requests():
            continue
        shrinker.fewer_switches()
        if not shrinker.fewer_requests():  # some were only needed for switches that are gone
            break
    shrinker.accept(_renumbered(shrinker.script))
    return shrinker.script, shrinker.trials
