"""Keep what was found, and say it once: through logging, to a callable, or as an exception."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stateguard.leak import at_least
from stateguard.messages import see
from stateguard.report.aftermath import Aftermath
from stateguard.report.rate import RateLimit
from stateguard.report.thinning import Thinning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stateguard.attribution.request import GuardedRequest
    from stateguard.config import Config
    from stateguard.leak import Leak
    from stateguard.report.sink import Sink

logger = logging.getLogger("stateguard")

_LEVELS = {"critical": logging.ERROR, "high": logging.WARNING, "low": logging.INFO, "note": logging.DEBUG}

DISTINCT = 1000
"""Distinct leaks that are counted."""


AGAIN = -1
"""In place of a count: what has become of a leak that has been said."""


def is_round(n: int) -> bool:
    """1, 10, 100 and so on: the counts that are said."""
    return n == 1 or (n >= 10 and str(n).strip("0") == "1")


class Notice:
    """Something to be said. ``news`` is the count that the log is to give, 0 if it is to be silent."""

    __slots__ = ("for_sinks", "leak", "news", "seen")

    def __init__(self, leak: Leak, seen: int, news: int, for_sinks: bool) -> None:
        self.leak = leak
        self.seen = seen
        self.news = news
        self.for_sinks = for_sinks


class Reporter:
    """Records under the guard's lock, acts without it: a log handler or a callable may take its time."""

    def __init__(self, config: Config, sinks: Sequence[Sink], complain: Callable[[str], None]) -> None:
        self._config = config
        self._complain = complain
        self._sinks = list(sinks)
        self._thinning = Thinning()
        self.leaks: deque[Leak] = deque(maxlen=config.keep)
        self.counts: dict[str, int] = {}
        self.latest: dict[str, Leak] = {}
        self.pending: list[Notice] = []
        self.aftermath = Aftermath()
        self.raises = config.on_leak == "raise"
        # Alarms and the rest have a limit each: no number of caches can silence an alarm.
        self._limits = (RateLimit(config.rate_limit), RateLimit(config.rate_limit))

    def add_sink(self, sink: Sink) -> None:
        """One more place for leaks: from now on, and what is known of each distinct one so far."""
        self._sinks.append(sink)
        for key, leak in list(self.latest.items()):
            sink.leak(leak, self.counts.get(key, 1))

    def record(self, leak: Leak, sole: GuardedRequest | None) -> None:
        """Note a leak, proven against ``sole`` if there is one."""
        if leak.restored:
            if leak.severity == "note":
                self._retract(leak, sole)
            self.amend(leak, say=leak.severity != "note")
            return
        key = leak.id
        n = self.counts.get(key, 0) + 1
        news = n if is_round(n) else 0
        known = self.latest.get(key)
        if known is None or at_least(leak.severity, known.severity):
            if known is not None and (
                known.severity != leak.severity  # it has turned out to be worse than it looked
                or (known.location is None and leak.location is not None)  # its line is known now
            ):
                news = 1
            if known is None or leak.location is not None or known.location is None:
                self.latest[key] = leak
        self.counts[key] = n
        if len(self.counts) > DISTINCT:  # names made up per request: the oldest are reported anew
            oldest = next(iter(self.counts))
            del self.counts[oldest], self.latest[oldest]
            self._thinning.forget(oldest)
        self.leaks.append(leak)
        if news:
            self.aftermath.follow(leak)
        for_sinks = bool(self._sinks) and self._thinning.passes(leak, n)
        if news or for_sinks:
            self.pending.append(Notice(leak, n, news, for_sinks))
        if self.raises and sole is not None and at_least(leak.severity, self._config.threshold):
            sole.violations = (*sole.violations, leak)

    def _retract(self, leak: Leak, sole: GuardedRequest | None) -> None:
        """The occurrence has turned out to be harmless before it was said."""

        def other(one: Leak) -> bool:
            return one.time != leak.time or one.path != leak.path or one.id != leak.id

        self.pending = [notice for notice in self.pending if other(notice.leak)]
        if sole is not None:
            sole.violations = [one for one in sole.violations if other(one)]

    def amend(self, leak: Leak, say: bool = False) -> None:
        """More has become known of an occurrence that has been recorded; ``say`` it in the log as well."""
        for i, kept in enumerate(self.leaks):
            if kept.time == leak.time and kept.path == leak.path and kept.id == leak.id:
                self.leaks[i] = leak
                break
        latest = self.latest.get(leak.id)
        if latest is not None and (leak.restored or latest.time == leak.time):
            self.latest[leak.id] = leak
        self.aftermath.amend(leak)
        n = self.counts.get(leak.id, 0)
        if n and (self._sinks or say):
            self.pending.append(Notice(leak, n, AGAIN if say and is_round(n) else 0, bool(self._sinks)))

    def over(self, request: str) -> None:
        """A request has ended: one that a leak was found beside could read it until now."""
        for leak in self.aftermath.over(request):
            self.amend(leak)

    def behind(self) -> bool:
        """Whether counts have been held back from the sinks for long enough. Needs no lock."""
        return self._thinning.due()

    def take(self, all: bool = False) -> list[Notice]:
        """What is to be said now, or ``all`` that ever will be; the lock is held."""
        pending, self.pending = self.pending, []
        if all or self._thinning.due():
            pending += [Notice(leak, seen, 0, True) for leak, seen in self._thinning.release()]
        return pending

    def act(self, pending: list[Notice]) -> None:
        """Say it; no lock is held."""
        for notice in pending:
            if notice.news:
                try:
                    self._say_missed()
                    self._act(notice.leak, notice.news)
                except Exception:
                    self._complain("reporting a leak")
            if notice.for_sinks:
                for sink in self._sinks:
                    try:
                        sink.leak(notice.leak, notice.seen)
                    except Exception:
                        self._complain(f"handing a leak to {type(sink).__name__}")

    def _say_missed(self, all: bool = False) -> None:
        missed = sum(limit.missed(all) for limit in self._limits)
        if missed:
            logger.warning(
                "%d more leak messages were not said, the limit being %d a minute (rate_limit=); guard.leaks "
                "and the places of report_to have them all. See %s",
                missed,
                self._config.rate_limit,
                see("rate-limit"),
            )

    def say_last(self, allowances: Mapping[str, int]) -> None:
        """What is to be said at the end; no lock is held."""
        try:
            self._say_missed(all=True)
            unused = [entry for entry, hits in allowances.items() if not hits]
            if unused and self.counts:
                logger.info(
                    "%d of %d exemptions have matched nothing in this process: %s. See %s",
                    len(unused), len(allowances), ascii(unused)[:2000], see("unused-exemptions"),
                )  # fmt: skip
        except Exception:
            self._complain("saying what is left to say")
        if not (allowances and self._sinks):
            return
        from stateguard.report.sink import TakesAllowances

        for sink in self._sinks:
            if isinstance(sink, TakesAllowances):
                try:
                    sink.allowances(allowances)
                except Exception:
                    self._complain(f"handing exemptions to {type(sink).__name__}")

    def close(self) -> None:
        """Close the sinks; no lock is held."""
        for sink in self._sinks:
            try:
                sink.close()
            except Exception:
                self._complain(f"closing {type(sink).__name__}")

    def _act(self, leak: Leak, n: int) -> None:
        action = self._config.on_leak
        level = _LEVELS[leak.severity]
        if not at_least(leak.severity, self._config.threshold):
            level = min(level, logging.INFO)
        alarming = at_least(leak.severity, self._config.threshold)
        if callable(action):
            if n == 1 and alarming:
                action(leak)
        elif logger.isEnabledFor(level) and self._limits[0 if alarming else 1].allows():
            # Loaded when the baseline was taken.
            from stateguard.report.text import aftermath, counted, fields, render_leak

            text = aftermath(leak) if n == AGAIN else counted(leak, n) if n > 1 else render_leak(leak)
            logger.log(level, "%s", text, extra=fields(leak))


def say(message: str, cause: Any = None) -> None:
    """Log something about the guard itself, whatever state logging is in."""
    try:
        logger.error("%s", message, exc_info=cause)
    except Exception:
        # Logging itself is broken: the interpreter's error stream is all that is left.
        with suppress(Exception):
            print(message, file=sys.stderr)
            if cause is not None:
                traceback.print_exception(*cause)
