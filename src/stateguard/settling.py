"""Settling: from what a look has seen to who is accused of it, on what evidence. The guard's lock is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.attribution import signals
from stateguard.attribution.request import GuardedRequest
from stateguard.leak import LISTED, SUSPECTS
from stateguard.parallel import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stateguard.containment import Containment
    from stateguard.drops import Suspects
    from stateguard.engine import Engine
    from stateguard.leak import Leak, Location
    from stateguard.passing import PassingScope
    from stateguard.verdict import Judge
    from stateguard.watch.watcher import Seen

    Verdict = tuple[Leak, GuardedRequest | None, Seen]


def nowhere(seen: Seen, request: GuardedRequest | None) -> Location | None:
    """The line is not known: it has long been left."""
    return None


def each_once(*requests: GuardedRequest) -> list[GuardedRequest]:
    """The same, in that order, each of them once."""
    return list({id(request): request for request in requests}.values())


class Settling:
    """Finds the candidates for what has been seen, has them judged, and records the verdicts."""

    def __init__(self, engine: Engine, judge: Judge) -> None:
        self._engine = engine
        self._judge = judge

    def settle(self, seen: list[Seen], proven: bool) -> None:
        """``proven``: all of this was looked at when the stretches now running began, or later."""
        seen = self._without_late(seen)
        alibi = self._engine.finder.alibi if self._engine.finder.armed else None
        # What has not changed before is compared by full looks only. Who has run since the last of them
        # counts, and the lines in flight say nothing, unless there is a full look after each line.
        fresh = [one for one in seen if one.fresh]
        if fresh:
            thorough = self._engine.finder.thorough
            candidates = self._engine.ledger.running(alibi if thorough else None, full=True)
            self._blame(fresh, candidates, not proven, full=True)
        known = [one for one in seen if not one.fresh]
        if known:
            self._blame(known, self._engine.ledger.running(alibi), unproven=False)

    def settle_deep(
        self, seen: list[Seen], served: Iterable[GuardedRequest | PassingScope], among: int, strict: bool
    ) -> None:
        """What is compared once per request: anybody in the window may have changed it, and so may those who
        were ``served`` while looks were sliced; ``among`` about so many, if not 0.
        """
        engine, seen = self._engine, self._without_late(seen)
        # When looks are less close, code outside any request may have done it before this one came.
        unseen = {id(one): one for one in (*served, *engine.unseen.suspects())}
        found = {**engine.window, **unseen}.values()
        # Nobody has looked before those came, either.
        loose = bool(unseen) or not all(isinstance(one, GuardedRequest) for one in found)
        suspects = each_once(*map(engine.passing.request, found))
        among = max(among, engine.unseen.among(engine.tally.requests))
        if len(engine.window) >= SUSPECTS:
            among = max(among, engine.tally.requests - engine.window_over, 1)
        self.record(seen, suspects, unproven=not strict or loose, locate=nowhere, among=among)

    def _without_late(self, seen: list[Seen]) -> list[Seen]:
        """Settle what an earlier look has left out: those who have written it may be gone. The others."""
        late = [one for one in seen if one.late]
        if late:
            self._engine.slices.settle(late)
        return [one for one in seen if not one.late]

    def _blame(
        self, seen: list[Seen], candidates: list[GuardedRequest], unproven: bool, full: bool = False
    ) -> None:
        unseen = self._engine.unseen.suspects()
        droppers = self._engine.drops.suspects(full)
        if droppers.late:
            self._suspect_finalizers(seen, candidates, droppers, anybody=droppers.anybody or bool(unseen))
            return
        if unseen:
            # Stretches that nobody looked around: each of them may have done it, and so may other code.
            since = map(self._engine.passing.request, unseen)
            together = each_once(*candidates, *since)
            among = self._engine.unseen.among(self._engine.tally.requests)
            self.record(seen, together, unproven=True, locate=nowhere, among=among)
            return
        watcher = self._engine.watcher
        if watcher is not None and len(candidates) == 1 and not unproven:
            unproven = self._engine.ledger.outsiders(watcher.table.watches, full)
            threads = {self._engine.ledger.blamed[0], *self._engine.ledger.excused}
            if not unproven and any(map(signals.on_main_thread, threads)):
                doubtful = [one for one in seen if signals.may_have_written(one.path, watcher.table.watches)]
                self.record(doubtful, candidates, unproven=True)
                seen = [one for one in seen if not any(one is other for other in doubtful)]
        self.record(seen, candidates, unproven)

    def _suspect_finalizers(
        self, seen: list[Seen], candidates: list[GuardedRequest], droppers: Suspects, anybody: bool
    ) -> None:
        """What was dropped earlier was finalized meanwhile, and may have written it."""
        # Where state is compared in slices, it may have been elsewhere meanwhile, and dropped by others.
        if anybody or self._engine.pace.slicing:
            self._engine.slices.settle(seen, droppers.requests.values())
            return
        together = each_once(*candidates, *droppers.requests.values())
        self.record(seen, together, unproven=True, locate=nowhere)

    def record(
        self,
        seen: list[Seen],
        candidates: list[GuardedRequest],
        unproven: bool = False,
        locate: Callable[[Seen, GuardedRequest | None], Location | None] | None = None,
        among: int = 0,
    ) -> None:
        """``locate`` finds the line; by default, that is the one in flight now.

        ``among`` is 0 if ``candidates`` are all there are, else about how many there are in all.
        """
        if not seen:
            return
        passing = self._engine.passing
        scopes = list(passing.scopes)
        verdicts = self._judge.judge(
            seen,
            candidates,
            [*self._engine.active.values(), *map(passing.request, scopes[:LISTED])],
            self._engine.ledger.threads(),
            locate or self._location,
            unproven,
            -1 if self._engine.ledger.crowded else self._engine.ledger.moment,
            self._engine.finder.why_none,
            among,
            sum(not scope.closed for scope in scopes[LISTED:]),
        )
        if self._engine.containment is not None and not self._engine.warm_up.active:
            verdicts = self._contain(self._engine.containment, seen, verdicts)
        for leak, sole, _ in verdicts:
            if leak.location is not None:
                self._engine.finder.found(leak.root)
            elif leak.severity != "note":
                self._engine.finder.want(leak.root)
            if not self._engine.warm_up.active:
                self._engine.reporter.record(leak, sole)

    @staticmethod
    def _contain(containment: Containment, seen: list[Seen], verdicts: list[Verdict]) -> list[Verdict]:
        """Tell the containment of every change; the same verdicts, with what it has to say of each."""
        judged = {id(one): (leak, sole) for leak, sole, one in verdicts}
        told: list[Verdict] = []
        for one in seen:
            leak, sole = judged.get(id(one), (None, None))
            said = containment.note(one, leak, sole)
            if said is not None:
                told.append((said, sole, one))
        return told

    def put_back(self, request: GuardedRequest) -> None:
        """Undo what ``request`` has leaked, and take what is there now for granted; the lock is held."""
        watcher, containment = self._engine.watcher, self._engine.containment
        if watcher is None or containment is None:
            return
        self._engine.look()  # what others have written up to now is theirs
        self._engine.looking = True
        try:
            told, written = containment.put_back(request, self._beside())
            others = [one for one in watcher.check() + watcher.check_cold() if id(one.node) not in written]
            if others:
                self.settle(others, proven=True)
            for leak in told:
                self._engine.reporter.amend(leak, say=True)
        except Exception:
            self._engine.started = False  # the comparison was cut short: take the baseline anew
            self._engine.failed("putting shared state back")
        finally:
            self._engine.looking = False

    def _beside(self) -> str:
        """Why nothing can be put back now, if so: code that runs at the same instant may write to the same
        places."""
        others = PARALLEL and any(
            thread != self._engine.ledger.ident() for thread in self._engine.ledger.stacks
        )
        return "other requests were running at that instant" if others else ""

    def _location(self, seen: Seen, request: GuardedRequest | None) -> Location | None:
        if request is None or not self._engine.finder.armed:
            return None
        if seen.fresh and not self._engine.finder.thorough:
            return None  # nobody looked at this node after each line: it is not known which one wrote
        running = self._engine.ledger.threads()
        threads = [thread for thread in self._engine.ledger.blamed if running.get(thread) is request]
        # A request that works on several threads at once: none of their lines is proven.
        return self._engine.finder.location(threads[0]) if len(threads) == 1 else None
