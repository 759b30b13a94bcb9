"""Schedules as data: where control passes from one user's request to another's.

A *point* is a place at which a user's work can be held: a suspension of its coroutine, or, on a thread, a
line of watched code. It is named by place and count (``chat.py:14``, for the second time), not by the number
of a step, so that a schedule means the same on every Python version, and while libraries take more or fewer
steps. A *switch* says who goes on at a point. Without one the user who is running goes on as long as it can,
then the next one that can: a schedule without switches is strictly serial.
"""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stateguard.errors import ConfigError


class Point(NamedTuple):
    """In its ``turn``-th request, ``user`` reached ``place`` for the ``nth`` time; -1: nobody has begun."""

    user: int
    turn: int
    place: str
    nth: int

    def __str__(self) -> str:
        request = f" in its request {self.turn}" if self.turn > 1 else ""
        again = f" (time {self.nth})" if self.nth > 1 else ""
        return f"user {self.user} at {self.place}{again}{request}"


BEGIN = Point(-1, 0, "", 0)

Switches = Mapping[Point, int]
"""Who goes on at which point."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be decided: at ``point``, one of ``able`` goes on; ``usual`` does if nobody objects."""

    point: Point
    able: tuple[int, ...]
    usual: int


class Policy(Protocol):
    """Decides who goes on."""

    def __call__(self, decision: Decision) -> int:
        """One of ``decision.able``, or somebody to be waited for."""


class Replay:
    """Follows given switches, and notes those that it came by."""

    def __init__(self, switches: Switches) -> None:
        self.switches = dict(switches)
        self.met: set[Point] = set()

    def __call__(self, decision: Decision) -> int:
        """What the switches say."""
        wanted = self.switches.get(decision.point)
        if wanted is None:
            return decision.usual
        self.met.add(decision.point)
        return wanted

    @property
    def missed(self) -> list[Point]:
        """Switches at points that were never reached: the application did something else this time."""
        return [point for point in self.switches if point not in self.met]


def serial(decision: Decision) -> int:
    """One after the other."""
    return decision.usual


def alternating(decision: Decision) -> int:
    """Somebody else at every point."""
    later = [user for user in decision.able if user > decision.point.user]
    return later[0] if later else decision.able[0]


class Wandering:
    """A random walk: the running user is left with the given chance at each point."""

    def __init__(self, seed: int, leaving: float) -> None:
        self._random = random.Random(seed)
        self._leaving = leaving

    def __call__(self, decision: Decision) -> int:
        """A draw."""
        others = [user for user in decision.able if user != decision.point.user]
        if others and (decision.usual != decision.point.user or self._random.random() < self._leaving):
            return self._random.choice(others)
        return decision.usual


class Priorities:
    """Random priorities, lowered at ``changes`` random points (probabilistic concurrency testing).

    Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010: a
    bug that needs d ordering constraints among n users and k points is found with chance 1/(n k^(d-1)).
    """

    def __init__(self, seed: int, users: int, points: int, changes: int) -> None:
        draw = random.Random(seed)
        order = list(range(users))
        draw.shuffle(order)
        self._rank = {user: users + rank for rank, user in enumerate(order)}
        self._changes = {draw.randrange(max(1, points)): rank for rank in range(changes)}
        self._step = 0

    def __call__(self, decision: Decision) -> int:
        """The one of highest priority."""
        lowered = self._changes.get(self._step)
        self._step += 1
        if lowered is not None and decision.point.user in self._rank:
            self._rank[decision.point.user] = lowered - len(self._changes)
        return max(decision.able, key=lambda user: self._rank[user])


@dataclass(frozen=True, slots=True)
class Script:
    """Which steps each user sends, and the switches: what a replay token says.

    ``steps`` maps a user to indices into the templates.
    """

    steps: Mapping[int, tuple[int, ...]]
    switches: Switches = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Requests in all."""
        return sum(map(len, self.steps.values()))


_VERSION = "sg1"


def to_token(script: Script, requests: str) -> str:
    """A token for ``--replay``; ``requests`` is their :func:`~stateguard.probe.requests.fingerprint`."""
    places: dict[str, int] = {}
    for point in script.switches:
        places.setdefault(point.place, len(places))
    data = [
        requests,
        [[user, *steps] for user, steps in script.steps.items()],
        list(places),
        [[p.user, p.turn, places[p.place], p.nth, to] for p, to in script.switches.items()],
    ]
    packed = zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 9)
    return f"{_VERSION}-{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"


def from_token(token: str, requests: str) -> Script:
    """The script of a token. Raises :class:`~stateguard.errors.ConfigError` if it is of other requests."""
    version, _, text = token.strip().partition("-")
    try:
        if version != _VERSION:
            raise ValueError(version)
        unpacked = zlib.decompressobj().decompress(
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), 1 << 20
        )
        of, steps, places, switches = json.loads(unpacked)
        script = Script(
            {int(user): tuple(map(int, indices)) for user, *indices in steps},
            {
                Point(int(user), int(turn), str(places[place]), int(nth)): int(to)
                for user, turn, place, nth, to in switches
            },
        )
    except (ValueError, TypeError, IndexError, zlib.error) as error:
        raise ConfigError(f"{token!r} is not a replay token of this version of stateguard") from error
    if of != requests:
        raise ConfigError(
            f"this token was made for other requests (theirs: {of}, yours: {requests}): repeat the -r, "
            "--login, --header and --requests-file of the run that printed it"
        )
    return script
