"""The engine: looks at shared state around every stretch of a request's work and settles who changed it.

All looking happens under one lock. Nothing in here may fail a request: what goes wrong is noted once, and
after :data:`FAILURES` times of the same the engine stops looking.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING

from stateguard.attribution import asyncio_tasks, finalizers, greenlets, pieces, signals, trio_tasks
from stateguard.attribution.finder import Finder
from stateguard.attribution.handover import follow_threads
from stateguard.attribution.ledger import Ledger
from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.witness import ResidueWitness
from stateguard.baseline import AT_ONCE, Baseline
from stateguard.containment import Containment
from stateguard.handling import handling
from stateguard.interrupted import raised_by_signal_handler
from stateguard.leak import SUSPECTS
from stateguard.messages import see
from stateguard.pace import Pace
from stateguard.reporter import Reporter, say
from stateguard.request_data import RequestData
from stateguard.stats import Stats, Tally
from stateguard.turn import Turn
from stateguard.warmup import WarmUp, parse_warm_up
from stateguard.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stateguard.config import Config
    from stateguard.leak import Leak, Location
    from stateguard.report.sink import Sink
    from stateguard.scope import Scope
    from stateguard.verdict import Judge
    from stateguard.watch.watcher import Seen

logger = logging.getLogger("stateguard")

Verdict = tuple["Leak", "GuardedRequest | None", "Seen"]

PATIENCE = 5.0
"""Seconds to wait for another thread's look before going on without one."""

FAILURES = 3
"""Internal failures of one kind after which an engine stops looking; the application goes on."""


SAMPLED = 16
"""Of so many requests that are let pass, the time of one is taken."""

NEWCOMERS = 20
"""Requests at whose beginning context variables are looked at: what they inherit does not change later on."""


def _nowhere(seen: Seen, request: GuardedRequest | None) -> Location | None:
    """The line is not known: it has long been left."""
    return None


def _suspect(suspects: dict[int, GuardedRequest | Scope], request: GuardedRequest) -> None:
    # More are of no use to anybody, and looks may be seconds apart. That it is not the only one stays known.
    if len(suspects) < SUSPECTS:
        suspects[id(request)] = request


class Engine:
    """Watches, attributes and records for one guard."""

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
        self.watcher.discard = self._discard
        self.watcher.check_patterns()
        self.ledger = Ledger()
        self.active: dict[int, GuardedRequest] = {}
        """The requests being served."""
        self.failures: dict[str, int] = {}
        strict = config.locate == "always" or config.on_leak in ("raise", "restore")
        self.pace = Pace(config.budget, strict, config.max_pause)
        share = 1.0 if strict else config.budget
        self.finder = Finder(config.locate, self.ledger, self._look_at_line, share, config.budget >= 1)
        self.ledger.hear(self.finder.heard)
        self.tally = Tally()
        self.containment = (
            Containment(self.watcher, config.threshold) if config.on_leak == "restore" else None
        )
        self.warm_up = WarmUp(*parse_warm_up(config.warm_up))
        self._judge = judge(self.watcher)
        self.turn = Turn()
        self._witness = ResidueWitness()
        self.passing: dict[int, Scope] = {}
        """The scopes of requests that are let pass: nobody looks around each of their steps."""
        self._window: dict[int, GuardedRequest | Scope] = {}
        self.since: dict[int, GuardedRequest | Scope] = {}
        """Whose code has run since the last look at everything, without a look around it; a few of them."""
        self._sliced: dict[int, GuardedRequest | Scope] = {}
        """The latest requests that have had a stretch while state was compared in slices."""
        self.baseline = Baseline(self)
        self._said_slicing = False
        self.looking = False
        self._loose = False
        """Whether something may have changed unseen before the stretches now running began."""
        self.started = False
        self._greenlets = False
        self._follows = False
        """Whether the tasks of an event loop are followed for this engine."""
        self._adopted: object = None
        self._apps: set[int] = set()
        self._modules = 0
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
        self.ledger.collections.note(finalizers.possible(members))
        pieces.watch(watcher.table.watches)
        follow_threads()
        self.pace.expect(watcher.graph.cost)
        watcher.graph.portion = None if self.pace.fixed else AT_ONCE
        self._slow_down()
        self.started = True

    def _slow_down(self) -> None:
        """Follow the pace: when slicing, nothing is walked at once, and it is said once."""
        watcher = self.watcher
        if watcher is None:
            return
        watcher.graph.eager = not self.pace.slicing
        if self.pace.slicing and not self._said_slicing:
            self._said_slicing = True
            logger.warning(
                "stateguard: comparing %s watched objects at once would pause longer than %.3g ms, so it is "
                "done in slices. What has changed before is compared around every step; a change to anything "
                "else is found within one round, see guard.stats (%s)",
                f"{len(watcher.graph):,}",
                self.pace.max_pause / 1e6,
                see("slices"),
            )

    def close(self) -> None:
        """Stop looking, and hold on to nothing."""
        self.baseline.stop()
        asyncio_tasks.content(id(self))
        self.ledger.collections.note(False)
        with self.turn.lock:
            self.ledger.clear()
            self.active.clear()
            self.passing.clear()
            self._window.clear()
            self.since.clear()
            self._sliced.clear()
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
        self.looking = False
        self.ledger.clear()
        self.active.clear()
        self.passing.clear()
        self._window.clear()
        self.since.clear()
        self._sliced.clear()
        self.started = False
        self.baseline = Baseline(self)
        self.tally = Tally()
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
    def resting(self) -> bool:
        """Whether stretches may pass unseen at present: looks are sparse, and no line is looked for."""
        return self.pace.gait == "sparse" and self.started and not self.finder.armed

    def enlist(self, request: GuardedRequest) -> None:
        """A request begins."""
        watcher = self.watcher
        if watcher is None:
            return
        tally = self.tally
        tally.requests += 1
        if not self.resting or self.warm_up.active or len(sys.modules) != self._modules:
            self._prepare(watcher)
        self.active[id(request)] = request
        _suspect(self._window, request)
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
            if len(sys.modules) != self._modules:
                self._modules = len(sys.modules)
                follow_threads()
                if watcher.modules_grew():
                    self._restart()
                    started = True
            if self._newcomers and watcher.graph.variables and self.started:
                self._newcomers -= 1
                with self.turn.lock:
                    if not self.looking and not started:
                        watcher.look_at_context(last=not self._newcomers)
            if (
                not self.active
                and not self.passing
                and not self._window
                and self.pace.gait == "strict"
                and not self.pace.slicing
            ):
                with self.turn.lock:
                    if not self.looking:
                        self._look_deep()  # settings that code outside any request has changed since
                self._flush()
        except Exception:
            self.failed("opening a request")

    def _restart(self) -> None:
        """Modules that are watched have been imported."""
        watcher = self.watcher
        if watcher is None or not self.started:
            return
        with self.turn.lock:
            if not self.looking:
                self._look()
                self._look_deep()
            if self.pace.fixed or len(watcher.graph) <= AT_ONCE:
                self.start()
            else:  # a walk through everything takes too long here
                watcher.grow()
                watcher.graph.walk.run(nodes=len(watcher.graph) + AT_ONCE)
                self._slice_what_is_left()
        self._flush()

    def _slice_what_is_left(self) -> None:
        watcher = self.watcher
        if watcher is not None and watcher.graph.unsettled and not self.pace.slicing:
            self.pace.slicing = True
            self._slow_down()

    def begin(self, request: GuardedRequest, last: bool = False) -> None:
        """A stretch of work for ``request`` begins on this thread."""
        if self.watcher is None:
            return
        if self.resting and not self.pace.slicing:
            if len(self.since) < SUSPECTS:
                self.since[id(request)] = request
            return
        if not self.started:
            _suspect(self.since, request)
            with self.turn.lock:  # it may go on when there is something to compare with
                self.ledger.push(request)
            return
        if self.pace.slicing:
            self._note_sliced(request)
        if self.resting:
            _suspect(self.since, request)
            return
        lock = self.turn.take(PATIENCE, self.ledger.waiting)
        if lock is None:
            _suspect(self.since, request)
            return
        self.ledger.waiting.over()
        try:
            if self.looking:
                return  # a finalizer that ran while the engine was looking
            self._look(brief=True)
            again = not last and bool(self.turn.discarded)
            if not again:
                self.ledger.push(request)
                _suspect(self._window, request)
                if self.finder.armed:
                    self.finder.enter()
        finally:
            self.ledger.waiting.done()
            lock.release()
        # Another thread may have let go of it meanwhile: ``again`` counts, not what is left.
        if again or self.turn.discarded:
            self.turn.let_go()
            if again:  # what was finalized just now is not this stretch's doing
                self.begin(request, last=True)
                return
        if self._greenlets:
            greenlets.entered(request)
        if self.reporter.pending:
            self._flush()

    def _note_sliced(self, one: GuardedRequest | Scope) -> None:
        self._sliced[id(one)] = one
        if len(self._sliced) > SUSPECTS:
            self._sliced.pop(next(iter(self._sliced)), None)

    def end(self, request: GuardedRequest, last: bool = False) -> None:
        """The stretch has ended: whatever differs is on the account of those that were running."""
        if self._greenlets and not last:
            greenlets.left(request)
        if self.watcher is None:
            return
        pace = self.pace
        if pace.gait == "sparse" and perf_counter_ns() < pace.next_look and self.resting:
            if len(self.since) < SUSPECTS:  # the gait may have changed meanwhile
                self.since[id(request)] = request
            if self.ledger.stacks:
                self.ledger.pop(request)
            return
        if not self.started:
            self.ledger.pop(request)
            return
        lock = self.turn.take(PATIENCE, self.ledger.waiting)
        if lock is None:
            _suspect(self.since, request)
            self.ledger.pop(request)
            return
        self.ledger.waiting.over()
        try:
            again = False
            try:
                if not self.looking:
                    self._look()
                    again = not last and bool(self.turn.discarded)
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
                self.turn.let_go()
            finally:
                if again:  # what was finalized just now is this stretch's doing
                    self.end(request, last=True)
        if self.reporter.pending:
            self._flush()

    def pause(self, request: GuardedRequest) -> None:
        """The greenlet that works for ``request`` gives way: the stretch ends, to be resumed."""
        with self.turn.lock:
            if not self.looking:
                self._look()
                self.ledger.pop(request)

    def resume(self, request: GuardedRequest) -> None:
        """The greenlet goes on."""
        with self.turn.lock:
            if not self.looking:
                self._look(brief=True)
                self.ledger.push(request)

    def look_within(self) -> None:
        """Look in the middle of a stretch: before the first byte of a response leaves."""
        with self.turn.lock:
            if not self.looking:
                self._look()
                self._look_deep()
        if self.reporter.pending:
            self._flush()

    def finish(self, request: GuardedRequest) -> None:
        """The request is over: look at what is checked once per request, and let go of it."""
        if self.resting and perf_counter_ns() < self.pace.next_weighing:
            request.active = False
            self.active.pop(id(request), None)
            self.pace.flying(len(self.active))
            reporter = self.reporter
            if not (reporter.pending or reporter.aftermath.following or self.turn.discarded):
                return
        elif self.watcher is not None:
            with self.turn.lock:
                if not self.looking:
                    if self.pace.deep_due(alone=len(self.active) + len(self.passing) <= 1):
                        self._look_deep()
                        self._window.pop(id(request), None)  # what changes from now on, it has not done
                    if self.containment is not None and self.containment.holds(request):
                        self._put_back(request)
                    if self.pace.weigh(self.tally.requests):
                        self.finder.expire()
                        if self.pace.gait == "sparse" and not self.pace.handling:
                            self.pace.handling = handling()
        if self.turn.discarded:
            self.turn.let_go()
        request.active = False
        self.active.pop(id(request), None)
        self.pace.flying(len(self.active))
        if self.reporter.aftermath.following:
            with self.turn.lock:
                self.reporter.over(request.info.id)
        if self.reporter.pending or self.reporter.behind():
            self._flush()

    def abandon(self, request: GuardedRequest) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks.

        What it changed since the last look is seen at the next one.
        """
        request.active = False
        self.active.pop(id(request), None)

    def follow(self, request: GuardedRequest | None) -> None:
        """Follow the tasks that ``request`` will start, and what else the loop that runs here is given."""
        if self.resting:
            if self._follows:
                self._follows = False
                asyncio_tasks.content(id(self))
            return
        if self._follows and asyncio_tasks.followed():
            return
        try:
            if not trio_tasks.follow_tasks(request):
                self._follows = asyncio_tasks.follow_tasks(id(self))
        except Exception:
            self.failed("following the tasks of a request")

    # -- requests that are let pass --------------------------------------------------------------

    def passes(self) -> bool:
        """Whether a request that begins now may pass, without anybody looking around each of its steps."""
        watcher = self.watcher
        return (
            self.pace.gait == "sparse"
            and self.started
            and watcher is not None
            and not self.finder.armed
            and not self.warm_up.active
            and len(sys.modules) == self._modules
        )

    @property
    def minds_threads(self) -> bool:
        """Whether what a request leaves in thread-locals is looked at."""
        return self.watcher is not None and bool(self.watcher.graph.locals)

    def let_pass(self, scope: Scope) -> None:
        """The request of ``scope`` begins."""
        self.tally.requests += 1
        self.passing[id(scope)] = scope
        if len(self._window) < SUSPECTS:
            self._window[id(scope)] = scope
        if not self.tally.requests % SAMPLED:
            self.follow(None)
            scope.began = perf_counter_ns()

    def begin_passing(self, scope: Scope) -> None:
        """A step of it begins: on the account of a guarded request, if looks have become closer."""
        if scope.account is None and self.resting:
            if len(self.since) < SUSPECTS:
                self.since[id(scope)] = scope
            if self.pace.slicing:
                self._note_sliced(scope)
            return
        self.begin(scope.account or self._take_up(scope))

    def end_passing(self, scope: Scope) -> None:
        """The step has ended."""
        request = scope.account
        if request is None:
            if perf_counter_ns() < self.pace.next_look:
                return
            request = self._suspected(scope)
        self.end(request)

    def passed(self, scope: Scope) -> None:
        """The request has ended."""
        self.passing.pop(id(scope), None)
        request = scope.account
        if request is None:
            now = perf_counter_ns()
            if scope.began:  # for all that began since the one before
                self.pace.served(SAMPLED * (now - scope.began))
            if now < self.pace.next_weighing and not self.reporter.aftermath.following:
                return
            request = self._suspected(scope)
        self.finish(request)
        self.give_back(request)

    @staticmethod
    def give_back(request: GuardedRequest) -> None:
        """What runs here from now on does not work for ``request``, which had been taken up."""
        mark, request.mark = request.mark, None
        if mark is not None:
            with suppress(ValueError):  # the rest of it ran in another context
                current.reset(mark)

    def abandon_passing(self, scope: Scope) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks."""
        self.passing.pop(id(scope), None)
        if scope.account is not None:
            self.abandon(scope.account)
        scope.close()

    def _take_up(self, scope: Scope) -> GuardedRequest:
        """From here on, whoever looks closely sees each step of this request as well."""
        request = scope.account = self._suspected(scope)
        self.passing.pop(id(scope), None)
        self.active[id(request)] = request
        request.mark = current.set(request)  # for the rest of the task, or of what its context is copied to
        self.follow(request)
        return request

    def _suspected(self, one: GuardedRequest | Scope) -> GuardedRequest:
        if isinstance(one, GuardedRequest):
            return one
        request: GuardedRequest | None = one.account
        if request is None:
            guard: Any = one.owner
            info: Any = partial(getattr, one, "request")
            request = GuardedRequest(guard, info, RequestData(*one.origin), one, None)
            request.active = not one.closed
        return request

    # -- thread-locals ---------------------------------------------------------------------------

    def adopt_thread(self) -> None:
        """Watch this thread's thread-locals as shared state: an event loop serves every request on it."""
        watcher = self.watcher
        if watcher is None or not watcher.graph.locals:
            return
        mark = (threading.get_ident(), len(watcher.graph.locals), id(watcher.graph))
        if mark != self._adopted:
            with self.turn.lock:
                self._adopted = mark
                try:
                    watcher.add_thread_locals()
                except Exception:
                    self.failed("looking at thread-locals")

    def take_residue(self, request: GuardedRequest) -> None:
        """Note what this thread's thread-locals hold before the request runs on it."""
        request.residue = self.residue()

    def check_residue(self, request: GuardedRequest) -> None:
        """Report what the request has left in this thread's thread-locals."""
        before, request.residue = request.residue, None
        self.judge_residue(request, before)

    def residue(self) -> dict[int, dict[str, Any]] | None:
        """What this thread's thread-locals hold; ``None`` when none are watched."""
        if self.watcher is None or not self.watcher.graph.locals:
            return None
        with self.turn.lock:
            try:
                return self.watcher.take_residue()
            except Exception:
                self.failed("looking at thread-locals")
                return None

    def judge_residue(self, request: GuardedRequest, before: dict[int, dict[str, Any]] | None) -> None:
        """Report what this thread's thread-locals hold beyond ``before``: ``request`` has run here."""
        if before is None or self.watcher is None:
            return
        with self.turn.lock:
            try:
                self._judge_and_record(
                    self.watcher.left_behind(before), [request], locate=self._residue_place
                )
            except Exception:
                self.failed("looking at thread-locals")
            self._witness.forget(self.ledger.ident())
        self._flush()

    # -- looking (the lock is held) --------------------------------------------------------------

    def _look(self, brief: bool = False, line: bool = False) -> None:
        watcher = self.watcher
        if watcher is None or not self.started:
            return
        started = perf_counter_ns()
        pace = self.pace
        thorough = self.finder.armed and self.finder.thorough
        strict = pace.gait == "strict" or thorough
        slicing = pace.slicing and not thorough
        if slicing and not watcher.graph.has_hot:
            if not (brief or line):
                self.since.clear()
                self._look_at_slice()
            return
        hot = slicing or (not thorough if line else brief and not strict)
        try:
            self.looking = True
            if not (self.since and self.resting):  # else nothing is going to be proven
                self.ledger.about_to_look(full=not hot)
            seen = watcher.check_hot() if hot else watcher.check(keys=strict)
            if seen:
                self._settle(seen, proven=strict and (hot or not self._loose))
            if not hot:
                self.since.clear()
                self._loose = not strict
            elif not line:
                self._loose = True
                if slicing and not brief:
                    self.since.clear()
        except Exception:
            self.started = False  # the comparison was cut short: take the baseline anew
            self.failed("comparing shared state")
        finally:
            self.looking = False  # first of all: a signal handler may raise in anything that is called here
            cost = pace.spent(started, whole=not hot)
            self.tally.look(cost)
        if self.finder.armed and not line and pace.gait == "sparse":
            self.finder.spend(cost)
        if slicing:
            if not (brief or line):
                self._look_at_slice()
        elif pace.slicing or (not pace.fixed and watcher.graph.unsettled):
            pace.slicing = True
            self._slow_down()

    def _look_at_slice(self) -> None:
        """Go on with the round through everything, if its share of time allows. What differs there may have
        been written by anybody since the round before.
        """
        watcher, pace = self.watcher, self.pace
        until = pace.slice()
        if watcher is None or not until or not self.started:
            return
        started = perf_counter_ns()
        rotation = watcher.graph.rotation
        rounds = rotation.rounds
        try:
            self.looking = True
            seen = watcher.check_slice(until)
            if seen:
                sliced = map(self._suspected, list(self._sliced.values()))
                suspects = {id(one): one for one in (*sliced, *self.ledger.running())}
                self._judge_and_record(seen, list(suspects.values()), unproven=True, locate=_nowhere)
        except Exception:
            self.started = False
            self.failed("comparing shared state")
        finally:
            self.looking = False
            self.tally.slice(pace.slice_spent(started), rotation.rounds != rounds)
        if rotation.rounds != rounds and not watcher.graph.unsettled:
            pace.expect(watcher.graph.cost)
            self._slow_down()

    def _look_deep(self) -> None:
        """Also what is left out otherwise; anybody served since the last time may have changed that."""
        watcher = self.watcher
        if watcher is None or not self.started:
            return
        started = perf_counter_ns()
        try:
            self.looking = True
            strict = self.pace.gait == "strict"
            seen = [] if strict or self.pace.slicing else watcher.check()
            if not self.pace.slicing:  # else they have their turn in the round
                seen += watcher.check_cold()
            seen += watcher.check_settings()
            if seen:
                # When looks are less close, code outside any request may have done it before this one came.
                suspects = list(map(self._suspected, self._window.values()))
                self._judge_and_record(seen, suspects, unproven=not strict, locate=_nowhere)
            running = self.ledger.running()
            self._window = {**self.active, **self.passing, **{id(request): request for request in running}}
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
                self._look(brief=not self.finder.thorough, line=True)
                self._witness_residue()
        finally:
            self.ledger.waiting.done()
            lock.release()
        if self.turn.discarded:
            self.turn.let_go()
            if not last:  # what was finalized just now is the doing of the line that has ended
                self._look_at_line(last=True)

    def _witness_residue(self) -> None:
        if self.watcher is not None and self.watcher.graph.locals and self.finder.armed:
            thread = self.ledger.ident()
            self._witness.line(thread, self.watcher.take_residue(), self.finder.location(thread))

    # -- settling (the lock is held) -------------------------------------------------------------

    def _settle(self, seen: list[Seen], proven: bool) -> None:
        """``proven``: all of this was looked at when the stretches now running began, or later."""
        alibi = self.finder.alibi if self.finder.armed else None
        # What has not changed before is compared by full looks only. Who has run since the last of them
        # counts, and the lines in flight say nothing, unless there is a full look after each line.
        fresh = [one for one in seen if one.fresh]
        if fresh:
            candidates = self.ledger.running(alibi if self.finder.thorough else None, full=True)
            self._blame(fresh, candidates, not proven, full=True)
        known = [one for one in seen if not one.fresh]
        if known:
            self._blame(known, self.ledger.running(alibi), unproven=False)

    def _blame(
        self, seen: list[Seen], candidates: list[GuardedRequest], unproven: bool, full: bool = False
    ) -> None:
        if self.since:
            # Stretches that nobody looked around: each of them may have done it, and so may other code.
            since = map(self._suspected, self.since.values())
            together = {id(request): request for request in (*candidates, *since)}
            self._judge_and_record(seen, list(together.values()), unproven=True, locate=_nowhere)
            return
        watcher = self.watcher
        if watcher is not None and len(candidates) == 1 and not unproven:
            unproven = self.ledger.outsiders(watcher.table.watches, full)
            threads = {self.ledger.blamed[0], *self.ledger.excused}
            if not unproven and any(map(signals.on_main_thread, threads)):
                doubtful = [one for one in seen if signals.may_have_written(one.path, watcher.table.watches)]
                self._judge_and_record(doubtful, candidates, unproven=True)
                seen = [one for one in seen if not any(one is other for other in doubtful)]
        self._judge_and_record(seen, candidates, unproven)

    def _judge_and_record(
        self,
        seen: list[Seen],
        candidates: list[GuardedRequest],
        unproven: bool = False,
        locate: Callable[[Seen, GuardedRequest | None], Location | None] | None = None,
    ) -> None:
        """``locate`` finds the line; by default, that is the one in flight now."""
        if not seen:
            return
        verdicts = self._judge.judge(
            seen,
            candidates,
            [*self.active.values(), *map(self._suspected, list(self.passing.values())[:SUSPECTS])],
            self.ledger.threads(),
            locate or self._location,
            unproven,
            -1 if self.ledger.crowded else self.ledger.moment,
            self.finder.why_none,
        )
        if self.containment is not None and not self.warm_up.active:
            verdicts = self._contain(self.containment, seen, verdicts)
        for leak, sole, _ in verdicts:
            if leak.location is not None:
                self.finder.found(leak.root)
            elif leak.severity != "note":
                self.finder.want(leak.root)
            if not self.warm_up.active:
                self.reporter.record(leak, sole)

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

    def _put_back(self, request: GuardedRequest) -> None:
        """Undo what ``request`` has leaked, and take what is there now for granted; the lock is held."""
        watcher, containment = self.watcher, self.containment
        if watcher is None or containment is None:
            return
        self._look()  # what others have written up to now is theirs
        self.looking = True
        try:
            told, written = containment.put_back(request)
            others = [one for one in watcher.check() + watcher.check_cold() if id(one.node) not in written]
            if others:
                self._settle(others, proven=True)
            for leak in told:
                self.reporter.amend(leak, say=True)
        except Exception:
            self.started = False  # the comparison was cut short: take the baseline anew
            self.failed("putting shared state back")
        finally:
            self.looking = False

    def _residue_place(self, seen: Seen, request: GuardedRequest | None) -> Location | None:
        return self._witness.place(self.ledger.ident(), id(seen.node), str(seen.change.key))

    def _location(self, seen: Seen, request: GuardedRequest | None) -> Location | None:
        if request is None or not self.finder.armed:
            return None
        if seen.fresh and not self.finder.thorough:
            return None  # nobody looked at this node after each line: it is not known which one wrote
        running = self.ledger.threads()
        threads = [thread for thread in self.ledger.blamed if running.get(thread) is request]
        # A request that works on several threads at once: none of their lines is proven.
        return self.finder.location(threads[0]) if len(threads) == 1 else None

    # -- acting (no lock is held) ----------------------------------------------------------------

    def _discard(self, what: Any) -> None:
        self.turn.discard(what)

    def _flush(self) -> None:
        with self.turn.lock:
            pending = self.reporter.take()
        self.turn.let_go()
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
