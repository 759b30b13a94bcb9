"""State that a test leaves to the next one: shared state is compared before its fixtures and after them.

What is put back in between (``monkeypatch``, a fixture's clean-up) is no difference. Counters, caches and
lazily made objects are rated as the guard rates them, and left out below its threshold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.allow import AllowList
from stateguard.leak import at_least
from stateguard.rating import Rater
from stateguard.report.text import clean
from stateguard.watch.watcher import Watcher

if TYPE_CHECKING:
    from stateguard.config import Config


class Carryover:
    """One watcher for the whole session: what it sees before a test is nobody's, after it the test's."""

    def __init__(self, config: Config) -> None:
        self._watcher = Watcher(config.watch, surfaces=config.surfaces, show_values=config.show_values)
        self._rater = Rater(self._watcher)
        self._started = False

    def before(self) -> None:
        """A test is about to begin."""
        if not self._started or self._watcher.modules_grew():
            self._watcher.start()
            self._started = True
            return
        self._watcher.check()
        self._watcher.check_cold()
        self._watcher.check_settings()

    def after(self, config: Config) -> str:
        """One line for everything that the test has left changed."""
        watcher, allow = self._watcher, AllowList(config.allow)
        lines = []
        for seen in (*watcher.check(), *watcher.check_cold(), *watcher.check_settings()):
            severity, reason = self._rater.rate(seen, None)
            if at_least(severity, config.threshold) and not allow.allows(seen.path, seen.root):
                change = seen.change
                what = f"{seen.path} {change.kind}: {change.before} -> {change.after} [{severity}: {reason}]"
                lines.append(clean(what))
        return "\n".join(lines)

    def close(self) -> None:
        """Hold on to nothing."""
        self._watcher.stop()
