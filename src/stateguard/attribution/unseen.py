"""Stretches that nobody looks around: each of them may have done what the next look finds.

No lock is held where they begin and end. A stretch is noted as under way before anything is asked that
another thread may change, so that a look which takes in everything at the same moment cannot forget it.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any

from stateguard.leak import SUSPECTS

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest
    from stateguard.scope import Scope


class Unseen:
    """Those of one engine, each by its request, or by its scope if it is let pass."""

    __slots__ = ("_under_way", "since")

    def __init__(self) -> None:
        self.since: dict[int, GuardedRequest | Scope] = {}
        """Whose code has run since the last look at everything; a few of them are enough."""
        self._under_way: dict[tuple[int, int], list[Any]] = {}

    def begins(self, one: GuardedRequest | Scope) -> None:
        """A stretch begins on this thread."""
        key = (get_ident(), id(one))
        known = self._under_way.get(key)
        if known is None:
            self._under_way[key] = [one, 1]
        else:
            known[1] += 1

    def ends(self, one: GuardedRequest | Scope) -> None:
        """It has ended, or is on the ledger from now on."""
        key = (get_ident(), id(one))
        known = self._under_way.get(key)
        if known is not None:
            known[1] -= 1
            if known[1] <= 0:
                del self._under_way[key]

    def note(self, one: GuardedRequest | Scope) -> None:
        """It is a suspect of the next look. More than some are of no use to anybody."""
        if len(self.since) < SUSPECTS:
            self.since[id(one)] = one

    def looked(self) -> None:
        """Everything has been looked at; what is still under way stays a suspect.

        In this order: what begins meanwhile is under way first and a suspect then.
        """
        self.since.clear()
        for one, _ in list(self._under_way.values()):
            self.since[id(one)] = one

    def clear(self) -> None:
        """Nothing is running: after a fork."""
        self.since.clear()
        self._under_way.clear()
