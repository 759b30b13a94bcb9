"""Keep what was found, and say it once: through logging, to a callable, or as an exception."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateguard.leak import at_least
from stateguard.report.text import counted, fields, render_leak

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.attribution.request import GuardedRequest
    from stateguard.config import Config
    from stateguard.leak import Leak

logger = logging.getLogger("stateguard")

_LEVELS = {"critical": logging.ERROR, "high": logging.WARNING, "low": logging.INFO, "note": logging.DEBUG}

DISTINCT = 1000
"""Distinct leaks that are counted."""


class Reporter:
    """Records under the guard's lock, acts without it: a log handler or a callable may take its time."""

    def __init__(self, config: Config, complain: Callable[[str], None]) -> None:
        self._config = config
        self._complain = complain
        self.leaks: deque[Leak] = deque(maxlen=config.keep)
        self.counts: dict[str, int] = {}
        self.latest: dict[str, Leak] = {}
        self.pending: list[tuple[Leak, int]] = []
        self.raises = config.on_leak == "raise"

    def record(self, leak: Leak, sole: GuardedRequest | None) -> None:
        """Note a leak, proven against ``sole`` if there is one."""
        if leak.restored:
            self._restore(leak)
            return
        key = leak.id
        n = self.counts.get(key, 0) + 1
        known = self.latest.get(key)
        if known is None or at_least(leak.severity, known.severity):
            news = known is not None and (
                known.severity != leak.severity  # it has turned out to be worse than it looked
                or (known.location is None and leak.location is not None)  # its line is known now
            )
            if news:
                self.pending.append((leak, 1))
            if known is None or leak.location is not None or known.location is None:
                self.latest[key] = leak
        self.counts[key] = n
        if len(self.counts) > DISTINCT:  # names made up per request: the oldest are reported anew
            oldest = next(iter(self.counts))
            del self.counts[oldest], self.latest[oldest]
        self.leaks.append(leak)
        if n == 1 or (n >= 10 and str(n).strip("0") == "1"):
            self.pending.append((leak, n))
        if self.raises and sole is not None and at_least(leak.severity, self._config.threshold):
            sole.violations.append(leak)

    def _restore(self, leak: Leak) -> None:
        for i, kept in enumerate(self.leaks):
            if replace(kept, restored=True) == leak:
                self.leaks[i] = leak
                break
        if self.latest.get(leak.id) is not None:
            self.latest[leak.id] = leak

    def take(self) -> list[tuple[Leak, int]]:
        """What is to be said now; the lock is held."""
        pending, self.pending = self.pending, []
        return pending

    def act(self, pending: list[tuple[Leak, int]]) -> None:
        """Say it; no lock is held."""
        for leak, n in pending:
            try:
                self._act(leak, n)
            except Exception:
                self._complain("reporting a leak")

    def _act(self, leak: Leak, n: int) -> None:
        action = self._config.on_leak
        level = _LEVELS[leak.severity]
        if not at_least(leak.severity, self._config.threshold):
            level = min(level, logging.INFO)
        if callable(action):
            if n == 1 and at_least(leak.severity, self._config.threshold):
                action(leak)
        elif logger.isEnabledFor(level):
            text = counted(leak, n) if n > 1 else render_leak(leak)
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
