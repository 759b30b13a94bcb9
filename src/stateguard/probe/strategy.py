"""Which interleavings to try, in which order: the cheap and telling ones first."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from stateguard.probe.switches import Point, Priorities, Replay, Script, Wandering, alternating, serial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stateguard.probe.requests import Template
    from stateguard.probe.switches import Policy
    from stateguard.probe.trial import Outcome


class Search:
    """Yields scripts and policies for ever; is told what came of each.

    Everybody alternating, everybody one after the other, and two users alone come first. From the points that
    the two came by, every schedule with one preemption is then tried ("user 0 up to here, user 1 to the end,
    user 0 to the end": most races need no more), in an order drawn from the seed, mixed with two preemptions,
    random walks and random priorities among three.
    """

    def __init__(self, templates: Sequence[Template], users: int, requests: int, seed: int) -> None:
        logins = tuple(index for index, template in enumerate(templates) if template.once)
        steps = tuple(index for index, template in enumerate(templates) if not template.once)
        self._once = (*logins, *steps)
        self._twice = (*self._once, *steps) if steps else self._once
        self._users = users
        self._requests = requests
        self._random = random.Random(seed)
        self._points: dict[int, list[Point]] = {}
        self._length = 0
        self.opening = True
        """Whether the larger runs that come first are not over yet."""

    def _script(self, users: int, steps: tuple[int, ...] | None = None) -> Script:
        return Script(dict.fromkeys(range(users), steps or self._once))

    def learn(self, outcome: Outcome) -> None:
        """Take in the points of a run of two users."""
        users = {point.user for point in outcome.points}
        if users == {0, 1}:
            new = {user: [p for p in outcome.points if p.user == user] for user in users}
            for user, points in new.items():
                known = set(self._points.setdefault(user, []))
                self._points[user].extend(p for p in points if p not in known and p.place != "end")
            self._length = max(self._length, len(outcome.points))

    def __iter__(self) -> Iterator[tuple[Script, Policy]]:
        """Scripts and policies, each to be run from the same start."""
        yield self._script(self._users), alternating
        rounds = self._script(self._users, self._twice)
        yield (rounds if rounds.size <= self._requests * 0.3 else self._script(self._users)), serial
        self.opening = False
        yield self._script(2), serial
        tried: set[Point] = set()
        turn = 0
        while True:
            kind = turn % 6
            turn += 1
            if kind in (0, 1, 3):
                point = self._untried(tried)
                if point is not None:
                    tried.add(point)
                    yield self._script(2), Replay({point: 1})
                    continue
                kind = 5
            if kind == 2:
                yield (
                    self._script(min(3, self._users)),
                    Wandering(self._draw(), self._random.choice((0.1, 0.3, 0.6))),
                )
            elif kind == 4:
                users = min(3, self._users)
                changes = self._random.choice((1, 2, 3))
                yield self._script(users), Priorities(self._draw(), users, self._length * users // 2, changes)
            else:
                first, second = self._points.get(0), self._points.get(1)
                if first and second:
                    switches = {self._random.choice(first): 1, self._random.choice(second): 0}
                    yield self._script(2), Replay(switches)
                else:
                    yield self._script(2), Wandering(self._draw(), 0.3)

    def _draw(self) -> int:
        return self._random.getrandbits(32)

    def _untried(self, tried: set[Point]) -> Point | None:
        """A point of user 0 to interrupt it at: the application's own places before those of libraries, the
        first time it comes there before the next.
        """
        left = [point for point in self._points.get(0, ()) if point not in tried]
        if not left:
            return None
        best = min(map(_rank, left))
        return self._random.choice([point for point in left if _rank(point) == best])


def _rank(point: Point) -> tuple[bool, int]:
    return point.place.startswith("("), point.nth
