"""From what came back to a verdict. Never ``PASS`` where a bleed could not have been seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from stateguard.probe.canary import Canaries
    from stateguard.probe.targets import Answer

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
    in it. ``carriers`` says what the guard knows, in process: the state that ``owner``'s request wrote.
    """

    owner: int
    owner_request: str
    reader: int
    reader_request: str
    status: int
    where: str
    at: int
    around: str
    carriers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"the canary of user {self.owner} ({self.owner_request}) is in the answer to user {self.reader} "
            f"({self.reader_request}, status {self.status}): {self.where}, byte {self.at}: {self.around}"
        )


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
    seconds: float = 0.0

    def take(
        self, answer: Answer, user: int, name: str, canaries: Canaries, names: dict[tuple[int, int], str],
        shared: bool = False,
    ) -> None:  # fmt: skip
        """Judge one answer to ``user``; ``shared`` answers are the same for everybody by design."""
        self.sent += 1
        self.tried[name] = self.tried.get(name, 0) + 1
        if answer.error or answer.status >= 400:
            self.errors += 1
            self.failed[name] = self.failed.get(name, 0) + 1
            self.samples.setdefault(name, answer.error or f"status {answer.status}")
        if shared:
            return
        bled: set[int] = set()
        for where, data in answer.parts():
            for found in canaries.find(data):
                if found.user == user:
                    self.controlled.add(user)
                elif found.user not in bled:
                    bled.add(found.user)
                    self._prove(answer, user, name, where, data, found.user, found.at,
                                names.get((found.user, found.request), "?"))  # fmt: skip

    def _prove(
        self, answer: Answer, user: int, name: str, where: str, data: bytes, owner: int, at: int, source: str
    ) -> None:
        self.bled += 1
        if len(self.bleeds) < SHOWN:
            around = repr(data[max(0, at - 20) : at + 40].decode("utf-8", "replace"))
            self.bleeds.append(Bleed(owner, source, user, name, answer.status, where, at, around))

    @property
    def verdict(self) -> Verdict:
        """The verdict on what has been sent so far."""
        if self.bled:
            return "LEAK"
        broken = any(self.failed.get(name, 0) == tried for name, tried in self.tried.items())
        if not self.sent or broken or self.errors > TOLERATED * self.sent:
            return "INVALID"
        return "PASS" if len(self.controlled) == self.users else "INCONCLUSIVE"

    @property
    def reason(self) -> str:
        """The verdict in words."""
        match self.verdict:
            case "LEAK":
                return f"{self.bled} times a user was answered with another user's data"
            case "PASS":
                return f"{self.sent} answers to {self.users} users: each saw its own canaries, none another's"
            case "INVALID":
                what = "; ".join(f"{name}: {text}" for name, text in self.samples.items())
                return f"{self.errors} of {self.sent} answers were errors ({what or 'nothing was answered'})"
        seen = len(self.controlled)
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
            "bleeds": [asdict(bleed) for bleed in self.bleeds],
        }
