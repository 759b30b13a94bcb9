"""How the three parts of the resolver speak to each other: answers, their limits, and what is asked."""

from __future__ import annotations

from typing import Protocol

from stateguard.audit.facts import FunctionFacts, ModuleFacts
from stateguard.audit.program import Place

MAX_PLACES = 12
MAX_DEPTH = 60
"""Answers that wait for other answers. Longer chains of aliases end as not known."""

ONLY_INSTANCE = "()"
"""The name under which the one instance of a singleton class is known, as an attribute of its class."""

Places = tuple[Place, ...]


class References(Protocol):
    """The part of the resolver that follows references, as the other parts ask it."""

    def resolve(self, module: ModuleFacts, fn: FunctionFacts, ref: str) -> Places:
        """The places that ``ref``, written in ``fn``, may stand for."""

    def returns(self, key: str) -> Places:
        """What a function returns, in its own terms."""

    def walk(self, place: Place, path: str) -> Places:
        """Apply a path to a place, one step at a time."""


class Depth:
    """How many answers wait for other answers, in all parts together."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting = 0

    @property
    def exhausted(self) -> bool:
        """Whether one more would be too many."""
        return self.waiting >= MAX_DEPTH
