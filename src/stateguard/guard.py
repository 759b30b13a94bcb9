"""The guard: opens requests, looks at shared state around everything they run, and acts on what changed."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from itertools import count
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from stateguard.agent_session import AgentSession
from stateguard.allow import AllowList
from stateguard.attribution import asyncio_tasks, greenlets, trio_tasks
from stateguard.attribution.finder import Finder
from stateguard.attribution.handover import follow_threads, unfollow_threads
from stateguard.attribution.ledger import Ledger
from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.steps import drive
from stateguard.config import Config, load_config
from stateguard.errors import ConfigError, SharedStateMutated
from stateguard.leak import RequestInfo, at_least
from stateguard.rating import Rater
from stateguard.report.text import counted, fields, render_leak, render_summary
from stateguard.scope import open_scope
from stateguard.verdict import Judge
from stateguard.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stateguard.leak import Leak, Location
    from stateguard.request_data import RequestData
    from stateguard.watch.watcher import Seen

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("stateguard")

_LEVELS = {"critical": logging.ERROR, "high": logging.WARNING, "low": logging.INFO, "note": logging.DEBUG}

DEEP_INTERVAL = 20_000_000
"""Nanoseconds between two checks of what hardly ever changes (function parts, loggers, signal handlers) while
requests overlap. A request that runs alone is always checked in full."""

PERIOD = 50_000_000
"""Nanoseconds over which the cost of looking is weighed against the budget."""

BRIEF_GAIN = 5
"""A full look before and after each stretch costs at most this many times what brief ones do."""

PATIENCE = 5.0
"""Seconds to wait for another thread's look before going on without one."""

FAILURES = 3
"""Internal failures after which a guard stops looking; the application goes on."""

DISTINCT = 10_000
"""Distinct leaks that are counted."""

_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


class Guard:
    """Watches shared state around every request.

    ``watch`` names modules: ``"myapp"``, ``"myapp.*"``, ``"myapp.chat:HISTORY"``; without it, all first-party
    modules are watched (loaded from under the working directory, not installed). ``on_leak`` is ``"log"``,
    ``"raise"`` or a callable that is given each new :class:`~stateguard.leak.Leak`. ``mode`` is ``"on"``,
    ``"scope-only"`` (sessions, no watching) or ``"off"``. ``allow`` lists exemptions, each a path with globs
    and a reason: ``"myapp.cache:*  # bounded memo cache"``. ``threshold`` is the mildest severity that is
    logged as a warning and raised. ``locate`` says when to find the line of a change: ``"auto"`` (once
    something has changed), ``"always"``, ``"never"``. ``scope`` is where the per-request session lives:
    ``"contextvar"`` or ``"thread-local"``; ``session_factory`` makes it. ``process=False`` leaves process
    settings out. ``show_values`` shows values in previews instead of their type and size. ``keep`` bounds
    :attr:`leaks`. ``surfaces`` adds to the table of third-party client attributes that are state.

    Every option can also be set by ``STATEGUARD_<OPTION>`` or in ``[tool.stateguard]``.

    Raises :class:`~stateguard.errors.ConfigError` for an option that cannot work, and
    :class:`~stateguard.errors.WatchError` for a pattern that matches nothing.
    """

    def __init__(self, **options: Any) -> None:
        self.config: Config = load_config(options)
        self.mode = self.config.mode
        self._factory: Callable[[], Any] = self.config.session_factory or AgentSession
        self._lock = threading.RLock()
        self._ledger = Ledger()
        self._active: dict[int, GuardedRequest] = {}
        self._window: dict[int, GuardedRequest] = {}
        self._last_deep = 0
        self._strict = True
        self._greenlets = False
        self._spent = 0
        self._period = perf_counter_ns()
        self._looking = False
        self._started = False
        self._failures: dict[str, int] = {}
        self._leaks: deque[Leak] = deque(maxlen=self.config.keep)
        self._counts: dict[str, int] = {}
        self._latest: dict[str, Leak] = {}
        self._pending: list[tuple[Leak, int]] = []
        self._apps: set[int] = set()
        self._adopted: object = None
        self._ids = count(1)
        self._prefix = os.urandom(3).hex()
        self._allow = AllowList(self.config.allow)
        self._raises = self.config.on_leak == "raise"
        self.finder = Finder(self.config.locate, self._ledger, self._look_at_line)
        self.watcher: Watcher | None = None
        if self.mode == "on":
            self.watcher = Watcher(
                self.config.watch,
                surfaces=self.config.surfaces,
                process=self.config.process,
                show_values=self.config.show_values,
            )
            self._judge = Judge(self.watcher, self._allow, Rater(self.watcher))
        _guards.add(self)

    # -- what users ask --------------------------------------------------------------------------

    @property
    def raises(self) -> bool:
        """Whether a proven leak fails the request that made it."""
        return self._raises

    @property
    def leaks(self) -> list[Leak]:
        """Every leak seen, newest last, at most ``keep``; equal ones once per occurrence."""
        return list(self._leaks)

    @property
    def counts(self) -> dict[str, int]:
        """How often each distinct leak was seen, by :attr:`Leak.id <stateguard.leak.Leak.id>`."""
        return dict(self._counts)

    def summary(self) -> str:
        """A table of the distinct leaks, worst first, each with how often it was seen."""
        return render_summary((leak, self._counts[key]) for key, leak in list(self._latest.items()))

    def unused_allowances(self) -> list[str]:
        """The entries of ``allow`` that have exempted nothing so far."""
        return self._allow.unused()

    def asgi(self, app: Any) -> Any:
        """``app`` wrapped for ASGI with this guard."""
        from stateguard.asgi import StateGuardMiddleware

        return StateGuardMiddleware(app, guard=self)

    def wsgi(self, app: Any) -> Any:
        """``app`` wrapped for WSGI with this guard."""
        from stateguard.wsgi import StateGuardMiddleware

        return StateGuardMiddleware(app, guard=self)

    @contextmanager
    def request(self, name: str, *, method: str = "CALL", id: str | None = None) -> Iterator[GuardedRequest]:
        """Guard a block of code as one request: a Lambda handler, a queue job, a tool call, a script.

        Gives it a scope of its own. In ``raise`` mode, raises
        :class:`~stateguard.errors.SharedStateMutated` at the end, unless the block itself failed.
        """
        with self._request(name, method, id) as request:
            yield request

    @contextmanager
    def _request(
        self, name: str, method: str = "CALL", id: str | None = None, stepwise: bool = False
    ) -> Iterator[GuardedRequest]:
        info = RequestInfo(id or self.new_id(), "call", method, name)
        request = self.open(info, None)
        token = request.scope.enter()
        mark = current.set(request)
        if not stepwise:
            self.begin(request)
        failed = True
        try:
            yield request
            failed = False
        finally:
            if not stepwise:
                self.end(request)
            self.finish(request)
            with suppress(ValueError):  # a generator-based caller was moved to another context
                current.reset(mark)
            request.scope.leave(token)
            request.scope.close()
        error = None if failed else self.violation(request)
        if error is not None:
            raise error

    def guarded(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorator: every call of ``function``, plain or ``async``, is a guarded request of that name.

        Raises :class:`~stateguard.errors.ConfigError` for a generator function, whose call runs nothing yet.
        """
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise ConfigError(
                f"guarded({function.__qualname__}): calling a generator function runs none of its code. Put "
                'the loop that uses it into `with guard.request("name"):`'
            )
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        if iscoroutinefunction(function):

            @wraps(function)
            async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._request(name, stepwise=True) as request:
                    return await drive(function(*args, **kwargs), request)

            return cast("Callable[P, T]", call_async)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.request(name):
                return function(*args, **kwargs)

        return call

    # -- life cycle ------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the baseline now: call it when the application is ready, before its first request.

        Middlewares do it by themselves, at the end of the ASGI lifespan start-up or at the first request.
        """
        if self.watcher is None or self.mode != "on":
            return
        with self._lock:
            try:
                self.watcher.start()
                self.finder.start(self.watcher.members(), len(self.watcher.graph))
                self._started = True
            except Exception:
                self._failed("taking the baseline")
        if not self.watcher.modules and not self.watcher.patterns:
            logger.warning(
                "stateguard watches nothing: no module is loaded from under %s. Name your modules: "
                'Guard(watch=["myapp", "myapp.*"])',
                os.getcwd(),
            )

    def close(self) -> None:
        """Stop looking, for good: everything the guard has set up is undone.

        Task factories, executors and greenlet tracing are given back when the last guard closes.
        """
        with self._lock:
            self.mode = "off"
            self._ledger.clear()
            self._active.clear()
            self._window.clear()
            self.watcher = None
            self.finder.disarm()
        _guards.discard(self)
        if not any(guard.watcher is not None for guard in _guards):
            unfollow_threads()
            asyncio_tasks.unfollow_tasks()
            greenlets.unfollow_switches()

    def add_app(self, app: Any) -> None:
        """Watch an application object and the middleware instances behind it; once per object."""
        if self.watcher is None or id(app) in self._apps:
            return
        with self._lock:
            self._apps.add(id(app))
            try:
                self.watcher.add_app(app)
            except Exception:
                self._failed("looking at the application object")

    def new_id(self) -> str:
        """An id for a request that brought none."""
        return f"{self._prefix}-{next(self._ids)}"

    # -- one request -----------------------------------------------------------------------------

    def open(
        self, info: RequestInfo, data: RequestData | None, around: GuardedRequest | None = None
    ) -> GuardedRequest:
        """Begin a request: a fresh scope, and a place in the list of requests in flight.

        ``around`` is the request of another guard around the same exchange: one exchange has one session.
        """
        outer = current.get()
        while outer is not None and not outer.active:
            outer = outer.outer  # inherited from an earlier request on this connection: not ours to keep
        if around is not None and around.guard.gives_sessions_like(self):
            request = GuardedRequest(self, info, data, around.scope, outer)
            request.shares_scope = True
        else:
            scope = open_scope(info, session_factory=self._factory, carrier=self.config.scope)
            request = GuardedRequest(self, info, data, scope, outer)
        if self.watcher is not None and self.mode == "on":
            try:
                self._enlist(request, self.watcher)
            except Exception:
                self._failed("opening a request")
        return request

    def gives_sessions_like(self, other: Guard) -> bool:
        """Whether a scope that one of the two opened does for both."""
        return self._factory is other._factory and self.config.scope == other.config.scope

    def _enlist(self, request: GuardedRequest, watcher: Watcher) -> None:
        if not self._started:
            self.start()
            follow_threads()
            if greenlets.switching():
                greenlets.follow_switches()
                self._greenlets = True
        elif watcher.modules_grew():
            with self._lock:
                self._look()
                self._look_deep()
                self.start()
            self._flush()
        if self._strict and not self._active and not self._window:
            with self._lock:
                if not self._looking:
                    self._look_deep()  # settings that code outside any request has changed since
            self._flush()
        self._active[id(request)] = request
        self._window[id(request)] = request

    def begin(self, request: GuardedRequest) -> None:
        """A stretch of work for ``request`` begins on this thread."""
        watcher = self.watcher
        if watcher is None or not self._lock.acquire(timeout=PATIENCE):
            return
        try:
            if self._looking:
                return  # a finalizer that ran while the guard was looking
            self._look(brief=True)
            self._ledger.push(request)
            if self.finder.armed:
                self.finder.enter()
        finally:
            self._lock.release()
        if self._greenlets:
            greenlets.entered(request)
        if self._pending:
            self._flush()

    def end(self, request: GuardedRequest) -> None:
        """The stretch has ended: whatever differs is on the account of those that were running."""
        watcher = self.watcher
        if self._greenlets:
            greenlets.left(request)
        if watcher is None or not self._lock.acquire(timeout=PATIENCE):
            self._ledger.pop(request)
            return
        try:
            if not self._looking:
                self._look()
            self._ledger.pop(request)
            if not self._ledger.here():
                self.finder.leave()
        finally:
            self._lock.release()
        if self._pending:
            self._flush()

    def look_within(self, request: GuardedRequest) -> None:
        """Look in the middle of a stretch: before the first byte of a response leaves."""
        if self.watcher is None:
            return
        with self._lock:
            if not self._looking:
                self._look()
                self._look_deep()
        if self._pending:
            self._flush()

    def adopt_thread(self) -> None:
        """Watch this thread's thread-locals as shared state: an event loop serves every request on it."""
        watcher = self.watcher
        if watcher is None or not watcher.graph.locals:
            return
        mark = (threading.get_ident(), len(watcher.graph.locals), id(watcher.graph))
        if mark != self._adopted:
            with self._lock:
                self._adopted = mark
                try:
                    watcher.add_thread_locals()
                except Exception:
                    self._failed("looking at thread-locals")

    def pause(self, request: GuardedRequest) -> None:
        """The greenlet that works for ``request`` gives way: the stretch ends, to be resumed."""
        with self._lock:
            if self.watcher is not None and not self._looking:
                self._look()
                self._ledger.pop(request)

    def resume(self, request: GuardedRequest) -> None:
        """The greenlet goes on."""
        with self._lock:
            if self.watcher is not None and not self._looking:
                self._look(brief=True)
                self._ledger.push(request)

    def follow(self, request: GuardedRequest) -> None:
        """Follow the tasks and the threads that ``request`` will start."""
        try:
            follow_threads()
            if not trio_tasks.follow_tasks(request):
                asyncio_tasks.follow_tasks()
        except Exception:
            self._failed("following the tasks of a request")

    def finish(self, request: GuardedRequest) -> None:
        """The request is over: look at what is checked once per request, and let go of it."""
        if self.watcher is None:
            request.active = False
            return
        with self._lock:
            if not self._looking:
                now = perf_counter_ns()
                alone = self._strict and len(self._active) <= 1
                if alone or self._raises or now - self._last_deep >= DEEP_INTERVAL:
                    self._last_deep = now
                    self._look_deep()
                if now - self._period >= PERIOD:
                    self._weigh(now)
                    self.finder.expire()
            request.active = False
            self._active.pop(id(request), None)
        if self._pending:
            self._flush()

    def abandon(self, request: GuardedRequest) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks.

        What it changed since the last look is seen at the next one.
        """
        request.active = False
        self._active.pop(id(request), None)
        request.close_scope()

    def violation(self, request: GuardedRequest) -> SharedStateMutated | None:
        """What to raise for ``request`` now, if its leaks call for it; each is handed out once."""
        if not request.violations:
            return None
        leaks, request.violations = request.violations, []
        return SharedStateMutated("\n\n".join(map(render_leak, leaks)), leaks)

    def take_residue(self, request: GuardedRequest) -> None:
        """Note what this thread's thread-locals hold before the request runs on it."""
        if self.watcher is not None and self.watcher.graph.locals:
            with self._lock:
                request.residue = self.watcher.take_residue()

    def check_residue(self, request: GuardedRequest) -> None:
        """Report what the request has left in this thread's thread-locals."""
        before, request.residue = request.residue, None
        if before is None or self.watcher is None:
            return
        with self._lock:
            try:
                self._settle(self.watcher.left_behind(before), [request])
            except Exception:
                self._failed("looking at thread-locals")
        self._flush()

    # -- looking (the lock is held) --------------------------------------------------------------

    def _look(self, brief: bool = False, line: bool = False) -> None:
        watcher = self.watcher
        if watcher is None:
            return
        self._looking = True
        started = perf_counter_ns()
        self._ledger.about_to_look()
        try:
            if (self._strict or line) and not (brief and line):
                seen = watcher.check()
            elif brief:
                seen = watcher.check_hot()
            else:
                seen = watcher.check(keys=False)
            if seen:
                self._settle(seen, self._ledger.running(self._alibi))
        except Exception:
            self._failed("comparing shared state")
        finally:
            self._spent += perf_counter_ns() - started
            self._looking = False

    def _look_deep(self) -> None:
        watcher = self.watcher
        if watcher is None:
            return
        self._looking = True
        try:
            if not self._strict:
                late = watcher.check()
                if late:
                    self._settle(late, list(self._window.values()))
            seen = watcher.check_cold() + watcher.check_settings()
            if seen:
                self._settle(seen, list(self._window.values()))
            self._window = dict(self._active)
        except Exception:
            self._failed("comparing shared state")
        finally:
            self._looking = False

    def _weigh(self, now: int) -> None:
        """Compare what looking has cost with the budget: look more briefly, or in full again."""
        share = self._spent / (now - self._period)
        self._spent, self._period = 0, now
        if self.config.locate == "always":
            return
        if self._strict and share > self.config.budget:
            self._strict = False
        elif not self._strict and share * BRIEF_GAIN < self.config.budget:
            self._strict = True

    def _settle(self, seen: list[Seen], candidates: list[GuardedRequest]) -> None:
        threads = self._ledger.threads()
        if not self._strict:
            # Nobody looked before the stretch began: a node that has never changed before may have been
            # written by code outside any request, so the first time is no proof.
            fresh = [one for one in seen if one.fresh]
            seen = [one for one in seen if not one.fresh]
            self._judge_and_record(fresh, candidates, threads, unproven=True)
        self._judge_and_record(seen, candidates, threads)

    def _judge_and_record(
        self,
        seen: list[Seen],
        candidates: list[GuardedRequest],
        threads: dict[int, GuardedRequest],
        unproven: bool = False,
    ) -> None:
        in_flight = list(self._active.values())
        verdicts = self._judge.judge(seen, candidates, in_flight, threads, self._location, unproven)
        for leak, sole in verdicts:
            self._record(leak, sole)

    @property
    def _alibi(self) -> Callable[[int], bool] | None:
        return self.finder.alibi if self.finder.armed else None

    def _location(self, seen: Seen, request: GuardedRequest | None) -> Location | None:
        if request is None or not self.finder.armed:
            return None
        if seen.fresh and not self.finder.thorough:
            return None  # nobody looked at this node after each line: it is not known which one wrote
        for thread, running in self._ledger.threads().items():
            if running is request:
                return self.finder.location(thread)
        return None

    def _look_at_line(self) -> None:
        """A line has ended on a traced thread."""
        if self.watcher is None or not self._lock.acquire(timeout=PATIENCE):
            return
        try:
            if not self._looking:
                self._look(brief=not self.finder.thorough, line=True)
        finally:
            self._lock.release()

    def _record(self, leak: Leak, sole: GuardedRequest | None) -> None:
        if leak.restored:
            for i, kept in enumerate(self._leaks):
                if replace(kept, restored=True) == leak:
                    self._leaks[i] = leak
                    break
            return
        if leak.location is not None:
            self.finder.found(leak.root)
        elif leak.severity != "note":
            self.finder.want(leak.root)
        key = leak.id
        n = self._counts.get(key, 0) + 1
        known = self._latest.get(key)
        if known is None or at_least(leak.severity, known.severity):
            news = known is not None and (
                known.severity != leak.severity  # it has turned out to be worse than it looked
                or (known.location is None and leak.location is not None)  # its line is known now
            )
            if news:
                self._pending.append((leak, 1))
            if known is None or leak.location is not None or known.location is None:
                self._latest[key] = leak
        self._counts[key] = n
        if len(self._counts) > DISTINCT:  # names made up per request: the oldest are reported anew
            oldest = next(iter(self._counts))
            del self._counts[oldest], self._latest[oldest]
        self._leaks.append(leak)
        if n == 1 or (n >= 10 and str(n).strip("0") == "1"):
            self._pending.append((leak, n))
        if self._raises and sole is not None and at_least(leak.severity, self.config.threshold):
            sole.violations.append(leak)

    # -- acting (no lock is held) ----------------------------------------------------------------

    def _flush(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        for leak, n in pending:
            try:
                self._act(leak, n)
            except Exception:
                self._failed("reporting a leak", looking=False)

    def _act(self, leak: Leak, n: int) -> None:
        action = self.config.on_leak
        level = _LEVELS[leak.severity]
        if not at_least(leak.severity, self.config.threshold):
            level = min(level, logging.INFO)
        if n > 1 and callable(action):
            return
        if n > 1:
            logger.log(level, "%s", counted(leak, n), extra=fields(leak))
        elif callable(action):
            if at_least(leak.severity, self.config.threshold):
                action(leak)
        elif logger.isEnabledFor(level):
            logger.log(level, "%s", render_leak(leak), extra=fields(leak))

    def note_failure(self, doing: str) -> None:
        """For the middlewares: something of the guard's own has failed beside the looking."""
        self._failed(doing, looking=False)

    def _failed(self, doing: str, looking: bool = True) -> None:
        """The guard itself is at fault: say so once, and never let the request feel it."""
        if doing not in self._failures:
            self._say(f"stateguard failed while {doing}; requests go on. Please report this.", sys.exc_info())
        self._failures[doing] = self._failures.get(doing, 0) + 1
        if looking and self._failures[doing] == FAILURES:
            self.watcher = None
            self._say(f"stateguard has failed {FAILURES} times and has stopped looking; requests go on")

    @staticmethod
    def _say(message: str, cause: Any = None) -> None:
        try:
            logger.error("%s", message, exc_info=cause)
        except Exception:
            # Logging itself is broken: the interpreter's error stream is all that is left.
            with suppress(Exception):
                print(message, file=sys.stderr)
                if cause is not None:
                    traceback.print_exception(*cause)

    def _after_fork(self) -> None:
        """In a forked worker nobody is being served yet, and the parent's lock means nothing."""
        self._lock = threading.RLock()
        self._looking = False
        self._ledger.clear()
        self._active.clear()
        self._window.clear()
        self._prefix = os.urandom(3).hex()
        self._started = False


def _restart_guards() -> None:
    for guard in list(_guards):
        guard._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_guards)
