"""The engine: looks at shared state around every stretch of a request's work and settles who changed it.

All looking happens under one lock. Nothing in here may fail a request: what goes wrong is noted once, and
after :data:`FAILURES` times of the same the engine stops looking.
"""

from __future__ import annotations

import logging
import sys
import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING

from stateguard.attribution import asyncio_tasks, finalizers, greenlets, pieces, trio_tasks
from stateguard.attribution.finder import finder_for
from stateguard.attribution.handover import follow_threads
from stateguard.attribution.ledger import Ledger
from stateguard.attribution.unseen import Unseen
from stateguard.baseline import AT_ONCE, Baseline
from stateguard.drops import Drops
from stateguard.handling import handling
from stateguard.interrupted import raised_by_signal_handler
from stateguard.leak import SUSPECTS
from stateguard.messages import see
from stateguard.pace import Pace
from stateguard.passing import Passing
from stateguard.reporter import Reporter, say
from stateguard.settling import Settling
from stateguard.slices import Slices
from stateguard.tally import new_tally
from stateguard.thread_locals import ThreadLocals
from stateguard.turn import Turn
from stateguard.warmup import WarmUp, parse_warm_up
from stateguard.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from stateguard.attribution.request import GuardedRequest
    from stateguard.config import Config
    from stateguard.containment import Containment
    from stateguard.passing import PassingScope
    from stateguard.report.sink import Sink
    from stateguard.stats import Stats
    from stateguard.verdict import Judge

logger = logging.getLogger("stateguard")

PATIENCE = 5.0
"""Seconds to wait for another thread's look before going on without one."""

FAILURES = 3
"""Internal failures of one kind after which an engine stops looking; the application goes on."""


NEWCOMERS = 20
"""Requests at whose beginning context variables are looked at: what they inherit does not change later on."""


def _suspect(
    suspects: dict[int, GuardedRequest | PassingScope], *ones: GuardedRequest | PassingScope
) -> None:
    # More are of no use to anybody, and looks may be seconds apart. That there are more stays known.
    for one in ones:
        if len(suspects) >= SUSPECTS:
            break
        suspects[id(one)] = one


class Engine:
    """Watches, attributes and records for one guard."""

    # All of them: what each step asks for is read in place (see _short.c), and one slot makes what has none
    # slower on Python 3.13. With a dictionary, for those who put something in a method's place.
    __slots__ = (
        "__dict__", "__weakref__", "_apps", "_follows", "_greenlets", "_loose", "_newcomers", "active",
        "allowances", "baseline", "containment", "drops", "failures", "finder", "ledger", "locals", "looking",
        "modules", "pace", "passing", "reporter", "settling", "slices", "started", "tally", "turn",
        "unseen", "warm_up", "watcher", "window", "window_over",
    )  # fmt: skip

    def __init__(self, config: Config, judge: Callable[[Watcher], Judge], sinks: Sequence[Sink] = ()) -> None:
        self.allowances: Callable[[], Mapping[str, int]] = dict
        """How often each exemption has matched so far."""
        self.reporter = Reporter(config, sinks, self.note_failure)
        self.watcher: Watcher | None = Watcher(
            config.watch,
            surfaces=config.surfaces,
            process=config.process,
            show_values=config.show_values,
        )
        self.watcher.discard, self.watcher.let_out = self._discard, self._let_out
        self.watcher.check_patterns()
        self.ledger = Ledger()
        self.active: dict[int, GuardedRequest] = {}
        """The requests being served."""
        self.failures: dict[str, int] = {}
        strict = config.locate == "always" or config.on_leak in ("raise", "restore")
        self.pace = Pace(config.budget, strict, config.max_pause)
        self.finder = finder_for(config, strict, self.ledger, self._look_at_line)
        self.ledger.hear(self.finder.heard)
        self.tally = new_tally()
        self.containment: Containment | None = None
        if config.on_leak == "restore":
            from stateguard.containment import Containment  # here: only those need it

            self.containment = Containment(self.watcher, config.threshold)
        self.warm_up = WarmUp(*parse_warm_up(config.warm_up))
        self.settling = Settling(self, judge(self.watcher))
        self.turn = Turn()
        self.drops = Drops(self.ledger, self.turn)
        self.locals = ThreadLocals(self)
        self.passing = Passing(self)
        self.window: dict[int, GuardedRequest | PassingScope] = {}
        """Who may have changed what is compared once per request, by identity."""
        self.window_over = 0
        """How many requests had ended when it began."""
        self.unseen = Unseen(self.passing.scopes)
        self.slices = Slices(self)
        self.baseline = Baseline(self)
        self.looking = False
        self._loose = False
        """Whether something may have changed unseen before the stretches now running began."""
        self.started = False
        self._greenlets = False
        self._follows = False
        """Whether the tasks of an event loop are followed for this engine."""
        self._apps: set[int] = set()
        self.modules = 0
        self._newcomers = NEWCOMERS

    # -- life cycle ------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the baseline, however long it takes."""
        self.baseline.take(None)

    def start_soon(self, at_once: int = AT_ONCE) -> None:
        """Take the baseline of so many objects now, and of the others beside the requests."""
        if not self.baseline.under_way:
            self.baseline.take(None if self.pace.fixed else at_once)

    def baseline_taken(self, watcher: Watcher) -> None:
        """There is something to compare with."""
        watcher.complete()
        members = watcher.members()
        self.finder.start(members, len(watcher.graph))
        finalizing = finalizers.possible(members)
        watcher.graph.release.farewell.wanted = finalizing
        self.ledger.collections.note(finalizing)
        pieces.watch(watcher.table.watches)
        follow_threads()
        self.pace.expect(watcher.graph.cost)
        watcher.graph.allowance = None if self.pace.fixed else self.pace.max_pause
        self.slices.slow_down()
        self.started = True

    def close(self) -> None:
        """Stop looking, and hold on to nothing."""
        self.baseline.stop()
        asyncio_tasks.content(self)
        self.passing.open = False
        self.unseen.covered = sys.maxsize  # nobody is suspected of anything any more
        self.ledger.collections.note(False)
        with self.turn.lock:
            self.ledger.clear()
            self.active.clear()
            self.passing.scopes.clear()
            self.window.clear()
            self.unseen.clear()
            self.slices.clear()
            self.drops = Drops(self.ledger, self.turn)
            if self.watcher is not None:
                pieces.unwatch(self.watcher.table.watches)
                self.watcher.stop()
            self.watcher = None
            self.finder.disarm()
        self.say_everything()
        self.reporter.close()

    def stats(self) -> Stats:
        """The figures so far."""
        graph = None if self.watcher is None else self.watcher.graph
        return self.tally.stats(self.pace, graph, self.started)

    def say_everything(self) -> None:
        """Hand on the counts that are held back, and what can be said of exemptions at the end."""
        with self.turn.lock:
            pending = self.reporter.take(all=True)
        self.turn.let_go()
        self.reporter.act(pending)
        self.reporter.say_last(self.allowances())

    def after_fork(self) -> None:
        """In a forked worker nobody is being served yet, and the parent's lock means nothing."""
        self.turn = Turn()
        self.drops = Drops(self.ledger, self.turn)
        self.looking = False
        self.ledger.clear()
        self.active.clear()
        self.passing.open = False
        self.passing.scopes.clear()
        self.passing.weighing = threading.Lock()
        self.window.clear()
        self.window_over = 0
        self.unseen.clear()
        self.slices.clear()
        self.started = False
        self.baseline = Baseline(self)
        self.tally.clear()
        self._newcomers = NEWCOMERS
        self.warm_up.restart()

    def add_app(self, app: Any) -> None:
        """Watch an application object and the middleware instances behind it; once per object."""
        if self.watcher is None or id(app) in self._apps:
            return
        with self.turn.lock:
            self._apps.add(id(app))
            try:
                self.watcher.add_app(app)
            except Exception:
                self.failed("looking at the application object")

    # -- requests --------------------------------------------------------------------------------

    @property
    def over(self) -> int:
        """How many requests have ended."""
        return max(self.tally.requests - len(self.active) - len(self.passing.scopes), 0)

    @property
    def resting(self) -> bool:
        """Whether stretches may pass unseen at present: looks are sparse, and no line is looked for."""
        return (
            self.pace.gait == "sparse" and self.started and not self.finder.armed and self.watcher is not None
        )

    def enlist(self, request: GuardedRequest) -> None:
        """A request begins."""
        watcher = self.watcher
        if watcher is None:
            return
        self.tally.requests += 1
        self.passing.weigh()
        if not self.passing.open:
            self._prepare(watcher)
        self.active[id(request)] = request
        _suspect(self.window, request)
        self.pace.flying(len(self.active))

    def _prepare(self, watcher: Watcher) -> None:
        """What may have to be looked at before a request begins."""
        try:
            if self.warm_up.active:
                self.warm_up.request_begins()
            started = not self.started  # anew, here
            if started:
                self.start_soon()
                if greenlets.switching():
                    greenlets.follow_switches()
                    self._greenlets = True
            if len(sys.modules) != self.modules:
                self.modules = len(sys.modules)
                follow_threads()
                if watcher.modules_grew():
                    self.baseline.extend()
                    started = True
            if self._newcomers and watcher.graph.variables and self.started:
                self._newcomers -= 1
                with self.turn.lock:
                    if not self.looking and not started:
                        watcher.look_at_context(last=not self._newcomers)
            if self.pace.gait == "strict" and not (
                self.active or self.passing.scopes or self.window or self.unseen.any()
            ):
                with self.turn.lock:
                    if not self.looking:
                        self.look_deep()  # settings that code outside any request has changed since
                self.flush()
        except Exception:
            self.failed("opening a request")

    def begin(self, request: GuardedRequest, last: bool = False) -> None:
        """A stretch of work for ``request`` begins on this thread."""
        if self.watcher is None:
            return
        self.unseen.begins(request)  # before the gait is asked for: another thread may change it
        if not self.started:
            self.unseen.note(request)
            with self.turn.lock:  # it may go on when there is something to compare with
                self.ledger.push(request)
                self.unseen.ends(request)
            return
        if self.pace.slicing:
            self.slices.note(request)
        if self.resting:
            self.unseen.note(request)
            return
        lock = self.turn.take(PATIENCE, self.ledger.waiting)
        if lock is None:
            self.unseen.note(request)
            return
        self.ledger.waiting.over()
        try:
            if self.looking:
                return  # a finalizer that ran while the engine was looking
            self.unseen.ends(request)  # nobody else looks before it is on the ledger
            self.look(brief=True)
            again = not last and bool(self.turn.discarded)
            if not again:
                self.ledger.push(request)
                _suspect(self.window, request)
                if self.finder.armed:
                    self.finder.enter()
        finally:
            self.ledger.waiting.done()
            lock.release()
        # Another thread may have let go of it meanwhile: ``again`` counts, not what is left.
        if again or self.turn.discarded:
            self._let_go(again)
            if again:  # what was finalized just now is not this stretch's doing
                self.begin(request, last=True)
                return
        if self._greenlets:
            greenlets.entered(request)
        if self.reporter.pending:
            self.flush()

    def end(self, request: GuardedRequest, last: bool = False) -> None:
        """The stretch has ended: whatever differs is on the account of those that were running."""
        if self._greenlets and not last:
            greenlets.left(request)
        if self.watcher is None:
            return
        if not last:
            self.unseen.over(request)
        pace = self.pace
        if pace.gait == "sparse" and perf_counter_ns() < pace.next_look and self.resting:
            self.unseen.note(request)
            if self.ledger.stacks:
                self.ledger.pop(request)
            return
        if not self.started:
            self.ledger.pop(request)
            return
        # While looks are sparse, who finds somebody else looking need not look as well.
        lock = self.turn.take(0 if self.resting else PATIENCE, self.ledger.waiting)
        if lock is None:
            self.unseen.note(request)
            self.ledger.pop(request)
            return
        self.ledger.waiting.over()
        try:
            again = False
            try:
                if not self.looking:
                    self.look()
                    again = not last and bool(self.turn.discarded)
                    if pace.slicing:  # perhaps only since it began: the round will get to what it has written
                        self.slices.note(request)
            finally:  # a signal handler may have raised
                if not again:
                    self.ledger.pop(request)
                    if not self.ledger.here():
                        self.finder.leave()
        finally:
            self.ledger.waiting.done()
            lock.release()
        if again or self.turn.discarded:
            try:
                self._let_go(again)
            finally:
                if again:  # what was finalized just now is this stretch's doing
                    self.end(request, last=True)
        if self.reporter.pending:
            self.flush()

    def look_within(self) -> None:
        """Look in the middle of a stretch: before the first byte of a response leaves."""
        with self.turn.lock:
            if not self.looking:
                self.look()
                self.look_deep()
        if self.reporter.pending:
            self.flush()

    def finish(self, request: GuardedRequest) -> None:
        """The request is over: look at what is checked once per request, and let go of it."""
        due = not self.resting or perf_counter_ns() >= self.pace.next_weighing
        if due and self.watcher is not None:
            waiting = self.ledger.waiting
            # The first attempt may find that nobody can give the lock back any more, and replace it.
            lock = self.turn.take(PATIENCE, waiting) or self.turn.take(PATIENCE, waiting)
            if lock is not None:
                waiting.over()
                try:
                    if not self.looking:
                        self._finish(request)
                finally:
                    waiting.done()
                    lock.release()
        if self.turn.discarded:
            self._let_go(again=False)
        request.active = False
        self.active.pop(id(request), None)
        self.pace.flying(len(self.active))
        if self.reporter.aftermath.following:
            with self.turn.lock:
                self.reporter.over(request.info.id)
        if self.reporter.pending or self.reporter.behind():
            self.flush()

    def _finish(self, request: GuardedRequest) -> None:
        if self.pace.deep_due(alone=len(self.active) + len(self.passing.scopes) <= 1):
            self.look_deep()
            self.window.pop(id(request), None)  # what changes from now on, it has not done
        if self.containment is not None and self.containment.holds(request):
            self.settling.put_back(request)
        if self.pace.weigh(self.tally.requests):
            self.finder.expire()
            if not (self.pace.handling or self.pace.fixed):
                self.pace.handling = handling()

    def abandon(self, request: GuardedRequest) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks.

        What it changed since the last look is seen at the next one.
        """
        request.active = False
        self.active.pop(id(request), None)

    def follow(self, request: GuardedRequest | None) -> None:
        """Follow the tasks that ``request`` will start, and what else the loop that runs here is given."""
        try:
            if self.resting:
                if self._follows:
                    self._follows = False
                    asyncio_tasks.content(self)
                return
            if self._follows and asyncio_tasks.followed():
                return
            if not trio_tasks.follow_tasks(request):
                self._follows = asyncio_tasks.follow_tasks(self)
        except Exception:
            self.failed("following the tasks of a request")

    # -- looking (the lock is held) --------------------------------------------------------------

    def look(self, brief: bool = False, line: bool = False) -> None:
        """Compare state, and settle who has changed what."""
        watcher = self.watcher
        if watcher is None or not self.started:
            return
        started = perf_counter_ns()
        pace = self.pace
        if self.turn.queued:
            queued, self.turn.queued = self.turn.queued, 0
            pace.queue(queued)
            self.tally.ns += queued
        thorough = self.finder.armed and self.finder.thorough
        strict = pace.gait == "strict" or thorough
        slicing = pace.slicing and not thorough
        if slicing:
            self.slices.partly()
        if slicing and not watcher.graph.has_hot:
            self._loose = True
            if not (brief or line):
                self.unseen.looking(self.over)
                self._looked()
                self.slices.look()
            return
        hot = slicing or (not thorough if line else brief and not strict)
        whole = not hot or (slicing and not (brief or line))
        try:
            self.looking = True
            if not hot:
                self.slices.catch_up()  # before the look begins: with it, those are suspects no more
            if whole:
                self.unseen.looking(self.over)
            proven = strict and (hot or not self._loose)
            self.drops.about_to_look(watcher.graph.release.farewell, not hot, proven, not self.unseen.any())
            if not (self.resting and self.unseen.any()):  # else nothing is going to be proven
                self.ledger.about_to_look(full=not hot)
            seen = watcher.check_hot(passing=line) if hot else watcher.check(keys=strict)
            if seen:
                self.settling.settle(seen, proven=proven)
            self._told(watcher)
            if whole:
                self._looked()
            if not hot:
                self._loose = not strict
            elif not line:
                self._loose = True
        except Exception:
            self.started = False  # the comparison was cut short: take the baseline anew
            self.failed("comparing shared state")
        finally:
            self.looking = False  # first of all: a signal handler may raise in anything that is called here
            self.drops.looked(watcher.graph.release.farewell)
            cost = pace.spent(started, whole=not hot)
            self.tally.look(cost)
        if self.finder.armed and not line and pace.gait == "sparse":
            self.finder.spend(cost)
        if slicing:
            if not (brief or line):
                self.slices.look()
        elif pace.slicing or (not pace.fixed and watcher.graph.unsettled):
            pace.fall_behind()
            self.slices.slow_down()

    def _told(self, watcher: Watcher, suspects: Iterable[GuardedRequest | PassingScope] = ()) -> None:
        """What a look has seen has been settled. What it had no time for is left to the slices, and then any
        of the ``suspects`` may have written it, and who is running.
        """
        watcher.told()
        if watcher.graph.behind:
            watcher.graph.behind = False
            self.slices.fall_behind([*suspects, *self.unseen.suspects(), *self.ledger.running()])

    def _looked(self) -> None:
        """A look at everything is complete."""
        ones = self.unseen.looked()
        _suspect(self.window, *ones)
        if self.pace.slicing:
            for one in ones:
                self.slices.note(one)

    def look_deep(self) -> None:
        """Also what is left out otherwise; anybody served since the last time may have changed that."""
        watcher = self.watcher
        if watcher is None or not self.started:
            return
        started = perf_counter_ns()
        try:
            self.looking = True
            strict = self.pace.gait == "strict"
            slicing = self.pace.slicing
            served, among = self.slices.catch_up_deep(slicing)
            seen = [] if strict or slicing else watcher.check()
            if not slicing:  # else they have their turn in the round
                seen += watcher.check_cold()
            seen += watcher.check_settings()
            if seen:
                self.settling.settle_deep(seen, served, among, strict)
            self._told(watcher, [*self.window.values(), *served])
            self.window_over = self.over
            running = {id(request): request for request in self.ledger.running()}
            self.window = {**self.active, **{id(one): one for one in list(self.passing.scopes)}, **running}
        except Exception:
            self.failed("comparing shared state")
        finally:
            self.looking = False
            self.tally.look(self.pace.deep_spent(started))

    def _look_at_line(self, last: bool = False) -> None:
        """A line has ended on a traced thread."""
        lock = self.turn.take(PATIENCE, self.ledger.waiting) if self.watcher is not None else None
        if lock is None:
            return
        self.ledger.waiting.over()
        try:
            if not self.looking:
                self.look(brief=not self.finder.thorough, line=True)
                self.locals.line_ended()
        finally:
            self.ledger.waiting.done()
            lock.release()
        if self.turn.discarded:
            self._let_go(again=not last)
            if not last:  # what was finalized just now is the doing of the line that has ended
                self._look_at_line(last=True)

    # -- acting (no lock is held) ----------------------------------------------------------------

    def _discard(self, what: Any) -> None:
        self.turn.discard(what)

    def _let_go(self, again: bool) -> None:
        """Let go of what a look has discarded: to look ``again``, or what comes of it is left to others."""
        if again:
            self.drops.again()
        else:
            self.drops.leave()
        self.turn.let_go()

    def _let_out(self, nodes: list[Any], droppers: list[Any]) -> None:
        self.drops.let_out(nodes, droppers)

    def flush(self) -> None:
        """Say what is to be said; the lock is not held."""
        with self.turn.lock:
            pending = self.reporter.take()
        self._let_go(again=False)
        self.reporter.act(pending)

    def note_failure(self, doing: str) -> None:
        """Something of the guard's own has failed beside the looking."""
        self.failed(doing, looking=False)

    def failed(self, doing: str, looking: bool = True) -> None:
        """The guard itself is at fault: say so once, and never let the request feel it.

        Called while the exception is handled; raises it again if a signal handler has raised it.
        """
        error = sys.exc_info()[1]
        if error is not None and raised_by_signal_handler(error):
            raise error
        if isinstance(error, RecursionError):
            return  # the application has used up the stack: there will be room again
        if doing not in self.failures:
            say(
                f"stateguard failed while {doing}; requests go on. Please report this ({see('failed')})",
                sys.exc_info(),
            )
        self.failures[doing] = self.failures.get(doing, 0) + 1
        if looking and self.failures[doing] == FAILURES:
            self.watcher = None
            say(f"stateguard has failed {FAILURES} times and has stopped looking ({see('failed')})")
