"""Who has dropped what the guard lets go of: often some time later, in the middle of another request.

A look holds a large part of state that was dropped until it has had time to follow all of it. The finalizers
that run then are not the doing of the stretch that happens to run, unless that has dropped it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateguard.leak import SUSPECTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.attribution.ledger import Ledger
    from stateguard.attribution.request import GuardedRequest
    from stateguard.turn import Turn
    from stateguard.watch.farewell import Farewell


class Who:
    """Those that were running when something was dropped; nobody, if it was code outside any request."""

    __slots__ = ("requests",)

    def __init__(self, requests: Sequence[GuardedRequest]) -> None:
        self.requests = requests


class Suspects:
    """Those who may have dropped what was finalized between two comparisons."""

    __slots__ = ("anybody", "late", "requests")

    def __init__(self) -> None:
        self.late = False
        """Whether anything was finalized some time after it had been dropped."""
        self.requests: dict[int, GuardedRequest] = {}
        self.anybody = False
        """Whether it may have been any other request as well."""

    def add(self, who: Who | None) -> None:
        """They have dropped something; ``None`` if it is not known who has."""
        self.late = True
        if who is None:
            self.anybody = True
            return
        for request in who.requests:
            if len(self.requests) < SUSPECTS:
                self.requests[id(request)] = request

    def and_of(self, other: Suspects) -> Suspects:
        """Those of both."""
        both = Suspects()
        both.requests = {**self.requests, **other.requests}
        both.late = self.late or other.late
        both.anybody = self.anybody or other.anybody
        return both


class Drops:
    """Follows them for one engine, whose lock is held."""

    def __init__(self, ledger: Ledger, turn: Turn) -> None:
        self._ledger = ledger
        self._turn = turn
        self._moment: tuple[int, list[int]] | None = None
        self._running = Who(())
        """Those that are running, the same as long as the same stretches are."""
        self._own = False
        """Whether what they have dropped themselves is about to be finalized."""
        self._next = Suspects()
        """Of what is finalized at this moment, or has been since the latest look began."""
        self._under_way: list[None] = []
        self._lately = Suspects()
        self._lately_full = Suspects()
        self._last_full = True

    def about_to_look(self, farewell: Farewell, full: bool, proven: bool, known: bool) -> None:
        """A look begins, at all or at the hot part.

        ``proven``: what it finds and what had not changed before is the doing of those who are running, too.
        ``known``: nobody else is.
        """
        if not farewell.wanted:
            return
        self._lately, self._next = self._next, Suspects()
        if self._under_way or self._turn.around is not None:
            self._next = self._lately
        self._lately_full = self._lately if self._last_full else self._lately.and_of(self._lately_full)
        self._last_full = full
        moment = self._ledger.moment, list(self._ledger.stacks)
        if moment != self._moment:
            self._moment = moment
            self._running = Who(list(self._ledger.threads().values()))
        farewell.dropper = self._running if known else None
        farewell.fresh_as_well = proven

    def looked(self, farewell: Farewell) -> None:
        """The look is over, or goes on with what anybody may have done."""
        farewell.dropper = None

    def suspects(self, full: bool) -> Suspects:
        """Who may have dropped what has been finalized since the comparison before, the ``full`` one if so
        asked: by somebody who does not run any more."""
        return self._next.and_of(self._lately_full if full else self._lately)

    def let_out(self, nodes: list[Any], droppers: list[Who | None]) -> None:
        """A look has let go of these, and they are finalized when it has been told of.

        ``droppers`` are who has dropped those among them that run code then.
        """
        self._turn.discard(nodes)
        for who in droppers:
            if who is self._running:
                self._own = True
            else:
                self._late(who)

    def again(self) -> None:
        """Those who are running are looked at again after it."""
        self._own = False

    def leave(self) -> None:
        """Nobody looks after what is finalized now: whoever looks first must not be accused of it."""
        if self._own:
            self._own = False
            self._late(self._running)

    def _late(self, who: Who | None) -> None:
        self._next.add(who)
        self._turn.around = self._finalizing

    def _finalizing(self, begins: bool) -> None:
        """It is finalized, or has been: other threads may look in the middle of it, and so may this one."""
        if begins:
            self._under_way.append(None)
        else:
            self._under_way.pop()
