"""From what came back to a verdict. Never ``PASS`` where a bleed could not have been seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.probe.answer import Answer
    from stateguard.probe.canary import Canaries
    from stateguard.probe.requests import Template

Verdict = Literal["LEAK", "PASS", "INCONCLUSIVE", "INVALID"]

EXIT_CODES: dict[Verdict, int] = {"LEAK": 1, "PASS": 0, "INCONCLUSIVE": 3, "INVALID": 2}

TOLERATED = 0.1
"""Share of error answers from which nothing is claimed about an application."""

SHOWN = 50
"""Bleeds that are kept with their proof; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Bleed:
    """Proof: ``owner``'s canary in an answer to ``reader``.

    ``where`` is ``body``, ``header NAME``, ``cookie NAME``, or ``message N`` of a websocket; ``at`` the byte
    in it, of an unpacked body if it was compressed; ``form`` the encoding of the canary, if any.
    ``owner_number`` and ``reader_number`` count each user's requests from 0 (-1: the canary was cut off, it
    may be any of them). ``carriers`` says what the guard knows, in process: the state that the owner's
    request wrote.
    """

    owner: int
    owner_request: str
    owner_number: int
    reader: int
    reader_request: str
    reader_number: int
    status: int
    where: str
    at: int
    around: str
    form: str = ""
    carriers: tuple[str, ...] = ()

    def __str__(self) -> str:
        form = f" in {self.form}" if self.form else ""
        return (
            f"the canary of user {self.owner} ({self.owner_request}) is in the answer to user {self.reader} "
            f"({self.reader_request}, status {self.status}): {self.where}, byte {self.at}{form}: "
            f"{self.around}"
        )


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, and what its answer shows."""

    user: int
    number: int
    name: str
    status: int
    error: str
    own: bool
    """Whether it showed the user its own data: the positive control."""
    bleeds: tuple[Bleed, ...] = ()
    optional: bool = False

    @property
    def failed(self) -> bool:
        """Whether it counts as an error."""
        return bool(self.error) or self.status >= 400


def judge(
    answer: Answer,
    user: int,
    number: int,
    canaries: Canaries,
    sender: Callable[[int, int], tuple[str, bool]],
    template: Template,
) -> Exchange:
    """What one answer to ``user`` shows; answers to ``shared`` requests are the same for everybody by design.

    ``sender`` tells of a user's request, by number, what it was and whether its data is meant for everybody.
    """
    own, name = False, template.name
    bleeds: dict[int, Bleed] = {}
    for where, data in () if template.shared else answer.parts():
        for found in canaries.find(data):
            if found.user == user:
                own = True
                continue
            source, public = sender(found.user, found.request)
            if public or found.user in bleeds:
                continue
            around = repr(data[max(0, found.at - 20) : found.at + 40].decode("utf-8", "replace"))
            bleeds[found.user] = Bleed(
                found.user, source, found.request, user, name, number, answer.status, where, found.at, around,
                found.form,
            )  # fmt: skip
    proofs = tuple(bleeds.values())
    return Exchange(user, number, name, answer.status, answer.error, own, proofs, template.optional)


@dataclass
class Result:
    """What a run has shown so far."""

    users: int
    sent: int = 0
    errors: int = 0
    bleeds: list[Bleed] = field(default_factory=list)
    bled: int = 0
    controlled: set[int] = field(default_factory=set)
    tried: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    """What a reader should know beside the verdict."""
    schedules: int = 0
    """Interleavings that were tried, in process."""
    halt: str = ""
    """Why the application could not be probed to the end; makes ``PASS`` impossible."""
    unmet: list[str] = field(default_factory=list)
    """Of a replay: the switches whose points were not reached."""
    shrunk: Any = None
    """The :class:`~stateguard.probe.explore.Shrunk` bleed, in process."""

    def add(self, exchange: Exchange) -> None:
        """Take in one exchange."""
        self.sent += 1
        name = exchange.name
        self.tried[name] = self.tried.get(name, 0) + 1
        if exchange.optional:
            self.optional.add(name)
        if exchange.failed:
            self.errors += 1
            self.failed[name] = self.failed.get(name, 0) + 1
            self.samples.setdefault(name, exchange.error or f"status {exchange.status}")
        if exchange.own:
            self.controlled.add(exchange.user)
        self.bled += len(exchange.bleeds)
        self.bleeds.extend(exchange.bleeds[: max(0, SHOWN - len(self.bleeds))])

    @property
    def verdict(self) -> Verdict:
        """The verdict on what has been sent so far."""
        if self.bled:
            return "LEAK"
        left = self.left_out
        broken = any(
            self.failed.get(name, 0) == tried for name, tried in self.tried.items() if name not in left
        )
        errors = self.errors - sum(self.failed[name] for name in left)
        answered = self.sent - sum(self.tried[name] for name in left)
        if self.halt or not answered or broken or errors > TOLERATED * answered:
            return "INVALID"
        return "PASS" if len(self.controlled) == self.users and not self.unmet else "INCONCLUSIVE"

    @property
    def left_out(self) -> list[str]:
        """Made-up requests that the application never accepted: the verdict is on the others."""
        return [
            name
            for name in self.tried
            if name in self.optional and self.failed.get(name, 0) == self.tried[name]
        ]

    @property
    def reason(self) -> str:
        """The verdict in words."""
        tried = f" in {self.schedules} interleavings" if self.schedules else ""
        match self.verdict:
            case "LEAK":
                times = "once" if self.bled == 1 else f"{self.bled} times"
                return f"{times} a user was answered with another user's data"
            case "PASS":
                to = f"{self.sent} answers to {self.users} users{tried}"
                return f"{to}: each saw its own canaries, none another's"
            case "INVALID":
                what = "; ".join(f"{name}: {text}" for name, text in self.samples.items())
                if self.halt:
                    return self.halt + (f" ({what})" if what else "")
                return f"{self.errors} of {self.sent} answers were errors ({what or 'nothing was answered'})"
        seen = len(self.controlled)
        if seen == self.users:
            return (
                f"the interleaving could not be repeated: {'; '.join(self.unmet)} was not reached. The code "
                "has changed, or does something else each time"
            )
        return (
            f"{self.users - seen} of {self.users} users never got their own canary back: a bleed to them "
            "could not have been seen. Add a request whose answer shows what its user sent"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "requests": self.sent,
            "errors": self.errors,
            "users": self.users,
            "controlled": len(self.controlled),
            "bled": self.bled,
            "seconds": round(self.seconds, 3),
            "schedules": self.schedules,
            "bleeds": [asdict(bleed) for bleed in self.bleeds],
            "left_out": self.left_out,
            "notes": self.notes,
            "unmet": self.unmet,
            "shrunk": self.shrunk.to_dict() if self.shrunk is not None else None,
        }
