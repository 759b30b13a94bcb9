"""Stretches that nobody looks around: each of them may have done what the next look finds.

No lock is held where they begin and end. A stretch is noted as under way before anything is asked that
another thread may change, so that a look which takes in everything at the same moment cannot forget it. What
is under way at any moment of such a look may have written where that had looked already: it stays a suspect
of the next one.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any

from stateguard.leak import SUSPECTS
from stateguard.short import UnseenNumbers

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest
    from stateguard.passing import PassingScope

RUNNING = 1 << 62
"""In place of the number of a look: a step is under way."""


class Unseen(UnseenNumbers):
    """Those of one engine, each by its request, or by its scope if it is let pass."""

    __slots__ = ("_before", "_begun", "_over", "_passing", "_under_way", "since")

    def __init__(self, passing: dict[PassingScope, PassingScope]) -> None:
        self._passing = passing
        self.looks = 0
        """Looks at everything so far, one that is being taken included. A scope that is let pass says itself
        how many there had been when its latest step ended, in ``stepped``."""
        self.covered = 0
        """The number of the latest of them that is complete: what had ended when it began was seen by it."""
        self.since: dict[GuardedRequest | PassingScope, None] = {}
        """Whose code has run since the latest look at everything began; a few of them are enough."""
        self._before: dict[GuardedRequest | PassingScope, None] = {}
        """Whose code had run when it began, until it is complete."""
        self._under_way: dict[tuple[int, int], list[Any]] = {}
        self._begun = 0
        """How many requests had ended when the latest look at everything began, be it complete or not."""
        self._over = 0
        """The same of the latest that is complete: whoever ended later is a suspect."""

    def begins(self, one: GuardedRequest | PassingScope) -> None:
        """A stretch begins on this thread."""
        key = (get_ident(), id(one))
        known = self._under_way.get(key)
        if known is None:
            self._under_way[key] = [one, 1]
        else:
            known[1] += 1

    def ends(self, one: GuardedRequest | PassingScope) -> None:
        """It has ended, or is on the ledger from now on."""
        key = (get_ident(), id(one))
        known = self._under_way.get(key)
        if known is not None:
            known[1] -= 1
            if known[1] <= 0:
                del self._under_way[key]

    def over(self, one: GuardedRequest | PassingScope) -> None:
        """A stretch has ended; it is a suspect if nobody had looked when it began."""
        if (get_ident(), id(one)) in self._under_way:
            self.note(one)  # first: a look that is being completed keeps what is under way
            self.ends(one)

    def note(self, one: GuardedRequest | PassingScope) -> None:
        """It is a suspect of the next look. More than some are of no use to anybody: see :meth:`among`."""
        since: dict[GuardedRequest | PassingScope, None] | None = None
        while since is not self.since:  # a look that begins meanwhile replaces it
            since = self.since
            if len(since) < SUSPECTS:
                since[one] = None

    def _stepped(self) -> list[PassingScope]:
        return [scope for scope in list(self._passing) if scope.stepped >= self.covered]

    def suspects(self) -> list[GuardedRequest | PassingScope]:
        """Whose code may have written since the latest look at everything, as far as that is known."""
        stepped = self._stepped()[:SUSPECTS]  # first: who ends from here on notes that below before it goes
        found = {**self._before, **self.since}
        found.update((scope, None) for scope in stepped)
        return list(found)

    def among(self, requests: int) -> int:
        """About how many there are in all, if more may have been than are remembered; else 0.

        ``requests`` is how many have begun so far.
        """
        cut = len(self.since) >= SUSPECTS or len(self._before) >= SUSPECTS or len(self._stepped()) > SUSPECTS
        return max(requests - self._over, 1) if cut else 0

    def inherit(self, ones: list[GuardedRequest | PassingScope], over: int) -> None:
        """Those are suspects of the next look as well, and whoever was served after so many had ended."""
        self.since.update(dict.fromkeys(ones))
        self._over = min(self._over, over)

    def any(self) -> bool:
        """Whether there are suspects."""
        return bool(self._stepped() or self._before or self.since)

    def looking(self, over: int) -> None:
        """A look at everything begins, when so many requests have ended."""
        self.looks += 1
        self._begun = over
        since, self.since = self.since, {}  # first: see `note`
        self._before.update(since)

    def looked(self) -> list[GuardedRequest | PassingScope]:
        """It is complete. Those who are suspects no more."""
        over, self._before = self._before, {}
        over.update((scope, None) for scope in self._stepped()[:SUSPECTS])
        self.covered = self.looks
        self._over = self._begun
        for one, _ in list(self._under_way.values()):
            self.since[one] = None
        return list(over)

    def clear(self) -> None:
        """Nothing is running: after a fork."""
        self.since = {}
        self._before.clear()
        self._under_way.clear()
        self._begun = self._over = 0
