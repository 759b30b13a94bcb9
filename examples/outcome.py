"""What came of one run: the answers, the guard's findings, and what to think of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from examples.customers import CUSTOMERS
from examples.load import Reply
from examples.messages_api import Received
from stateguard.leak import SEVERITIES

FAULTS = {
    "HISTORY": "one conversation for everybody, in a module global",
    "CURRENT_USER": "the signed-in user in a `global`",
    "SupportAgent.notes": "a list as class attribute",
    "run_tool": "a list as default argument",
    "_headers": "a shared client whose headers are set per request",
}
"""The five faults of the leaking services: what the leak's path holds, and what the fault is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One service's run."""

    module: str
    replies: tuple[Reply, ...]
    findings: dict[str, Any]
    log: str
    received: tuple[Received, ...]

    @property
    def leaks(self) -> list[dict[str, Any]]:
        """The guard's leaks, as dictionaries, oldest first."""
        return list(self.findings.get("leaks", []))

    @property
    def package(self) -> str:
        """What the paths of this service's own state begin with."""
        return self.module.removesuffix(".app")

    @property
    def distinct_leaks(self) -> list[tuple[dict[str, Any], int]]:
        """Each distinct leak in its most telling occurrence, and how often it was found; the worst first."""
        telling: dict[str, dict[str, Any]] = {}
        times: Counter[str] = Counter()
        for leak in self.leaks:
            times[leak["id"]] += 1
            known = telling.get(leak["id"])
            if known is None or _telling(leak) > _telling(known):
                telling[leak["id"]] = leak
        return sorted(((leak, times[leak["id"]]) for leak in telling.values()), key=_worst_first)

    @property
    def failed(self) -> list[Reply]:
        """Answers that are errors."""
        return [reply for reply in self.replies if reply.status != 200]

    @property
    def tainted(self) -> list[Reply]:
        """Answers that hold another customer's words."""
        return [reply for reply in self.replies if reply.foreign_words]

    @property
    def bled(self) -> bool:
        """Whether somebody read another customer's words."""
        return bool(self.tainted)

    @property
    def wrong_name(self) -> int | None:
        """Calls of the Messages API that were made in another customer's name; ``None`` with the real API.

        Judged by first messages only: they say who is talking.
        """
        if not self.received:
            return None
        return sum(_names_another(call) for call in self.received)

    def leaks_of(self, fault: str) -> list[dict[str, Any]]:
        """The findings about one of :data:`FAULTS`."""
        return [leak for leak in self.leaks if fault in leak["path"]]

    @property
    def all_faults_found(self) -> bool:
        """Whether the guard named each of the five faults."""
        return all(self.leaks_of(fault) for fault in FAULTS)

    @property
    def clean(self) -> bool:
        """Whether every answer arrived, none is tainted, and the guard found nothing."""
        return bool(self.replies) and not (self.failed or self.tainted or self.leaks or self.wrong_name)


def _telling(leak: dict[str, Any]) -> tuple[int, bool, bool]:
    badness = SEVERITIES.index(leak["severity"])
    return badness, leak["location"] is not None, leak["confidence"] == "exact"


def _worst_first(found: tuple[dict[str, Any], int]) -> tuple[int, int]:
    leak, times = found
    return -SEVERITIES.index(leak["severity"]), -times


def _names_another(call: Received) -> bool:
    last = call.body["messages"][-1]["content"]
    name = call.headers.get("x-customer")
    return isinstance(last, str) and any(
        f"I am {customer.name} " in last and customer.name != name for customer in CUSTOMERS
    )
