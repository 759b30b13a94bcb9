"""Take the baseline: at once if the state is small, else in short portions on a thread of its own.

A request never waits for the walk. Until it is complete, nothing is compared.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import TYPE_CHECKING

from stateguard.errors import WatchError
from stateguard.messages import see
from stateguard.reporter import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.engine import Engine

logger = logging.getLogger("stateguard")

AT_ONCE = 2_000
"""Mutable objects up to which the baseline is taken within the first request."""

AT_START_UP = 50_000
"""The same at the end of an application's start-up, when no request waits yet."""

PORTION = 500_000
"""Nanoseconds of walking between two breaks: for so long no other thread can run."""

IDLE, BUSY = 0.8, 0.1
"""Share of the clock that the walk takes while the process has nothing else to do, and while it has."""

REVIEW = 50_000_000
"""Nanoseconds between two looks at how busy the process is."""


def _load() -> None:
    """Import what is needed from now on, and not by a guard that is off or gives sessions only.

    Now, and not with the first leak: no lock is held, under which nothing of the application's may run, such
    as its import hooks; and until then the files may have been replaced by those of another version.
    """
    import concurrent.futures.thread  # noqa: F401

    import stateguard.report.text  # noqa: F401
    from stateguard.attribution.choose import choose_tracer
    from stateguard.report import advice
    from stateguard.watch import paths

    choose_tracer()  # which loads the one of this interpreter
    for pattern in (*advice.PATTERNS, *paths.PATTERNS):
        re.compile(pattern)  # the first leak is not to wait for that


class Portions:
    """Calls ``portion(until)`` until it says that all is done or that the walk is off.

    ``until`` is a reading of ``perf_counter_ns``.
    """

    def __init__(self, portion: Callable[[int], bool]) -> None:
        self._portion = portion
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stateguard-baseline", daemon=True)

    def start(self) -> None:
        """Begin. Raises ``RuntimeError`` where no thread can be started."""
        self._thread.start()

    def stop(self) -> None:
        """Break off, and wait until the thread has ended."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _run(self) -> None:
        share = IDLE
        reviewed, all_used, own_used = perf_counter_ns(), process_time_ns(), thread_time_ns()
        while not self._stop.is_set():
            began = perf_counter_ns()
            if self._portion(began + min(PORTION, max(50_000, int(PORTION * share)))):
                return
            ended = perf_counter_ns()
            if ended - reviewed >= REVIEW:
                everything, own = process_time_ns(), thread_time_ns()
                others = (everything - all_used) - (own - own_used)
                share = BUSY if others > 0.2 * (ended - reviewed) else IDLE
                reviewed, all_used, own_used = ended, everything, own
            self._stop.wait((ended - began) * (1 / share - 1) / 1e9)


class Baseline:
    """Takes the baseline for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._portions: Portions | None = None

    @property
    def under_way(self) -> bool:
        """Whether a thread is at it."""
        return self._portions is not None

    def renew(self, at_once: int) -> None:
        """Take for granted what is there now: the application has started up.

        With a baseline of before (one guard, several applications, or one that is started for each test) a
        comparison is enough, of which nothing is told.
        """
        engine = self._engine
        watcher = engine.watcher
        if watcher is None or not engine.started or watcher.modules_grew():
            engine.start_soon(at_once)
            return
        with engine.turn.lock:
            if engine.looking:
                return
            engine.looking = True
            try:
                watcher.accept()
            except Exception:
                engine.started = False
                engine.failed("taking the baseline")
            finally:
                engine.looking = False
        engine.turn.let_go()

    def extend(self) -> None:
        """Modules that are watched have been imported."""
        engine = self._engine
        watcher = engine.watcher
        if watcher is None or not engine.started:
            return
        with engine.turn.lock:
            if not engine.looking:
                engine.look()
                engine.look_deep()
            if engine.pace.fixed or len(watcher.graph) <= AT_ONCE:
                engine.start()
            else:  # a walk through everything takes too long here
                watcher.grow()
                watcher.graph.walk.run(nodes=len(watcher.graph) + AT_ONCE)
                engine.slices.take_over()
        engine.flush()

    def take(self, at_once: int | None) -> None:
        """Walk so many objects now, all of them if ``None``, and the others beside the requests."""
        engine = self._engine
        watcher = engine.watcher
        if watcher is None:
            return
        self.stop()
        try:
            _load()
        except Exception:  # the process is about to end, or its files are out of reach: that fails no request
            engine.note_failure("loading what reports need")
        with engine.turn.lock:
            complete = False
            started = perf_counter_ns()
            try:
                watcher.begin()
                complete = watcher.graph.walk.run(nodes=at_once)
                if complete:
                    engine.baseline_taken(watcher)
                else:
                    engine.started = False
            except Exception:
                engine.started = False
                engine.failed("taking the baseline")
                return
            finally:
                engine.tally.walk_ns = perf_counter_ns() - started
        if not complete:
            self._portions = Portions(self._walk)
            try:
                self._portions.start()
            except RuntimeError:  # no threads here: it takes as long as it takes
                while not self._walk(perf_counter_ns() + 1_000_000_000):
                    pass
        try:
            watcher.check_patterns()
        except WatchError as error:  # imported since: too late to fail, not to say so
            say(str(error))
        if not watcher.modules and not watcher.patterns:
            logger.warning(
                "stateguard watches nothing: no module is loaded from under %s. Name your modules: "
                'Guard(watch=["myapp", "myapp.*"]) (%s)',
                os.getcwd(),
                see("watches-nothing"),
            )

    def stop(self) -> None:
        """Break off what is under way."""
        portions, self._portions = self._portions, None
        if portions is not None:
            portions.stop()

    def _walk(self, until: int) -> bool:
        """Go on for a while; whether that is over."""
        engine = self._engine
        with engine.turn.lock:
            watcher = engine.watcher
            if watcher is None or engine.started:
                return True
            if engine.looking:
                return False
            started = perf_counter_ns()
            try:
                engine.looking = True
                if watcher.graph.walk.run(until):
                    engine.baseline_taken(watcher)
                    self._portions = None
            except Exception:
                self._portions = None
                engine.failed("taking the baseline")
                return True
            finally:
                engine.looking = False
                engine.tally.walk_ns += perf_counter_ns() - started
            return engine.started
