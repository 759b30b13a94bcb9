"""The guard of the test that is running, and what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from stateguard.guard import Guard
from stateguard.leak import at_least
from stateguard.pytest_plugin import clients
from stateguard.pytest_plugin.carryover import Carryover
from stateguard.report.text import render_leak

if TYPE_CHECKING:
    from stateguard.leak import Leak


def _kept(leak: Leak) -> None:
    """What is found is read from the guard when the test is over: nothing is to be logged meanwhile."""


class GuardedSession:
    """One guard per guarded test, so that nothing of one test is blamed on another."""

    def __init__(self, watch: list[str] | None, leaks: str, carryover: str) -> None:
        self._watch = watch
        self._fails = leaks == "fail"
        self._carryover = carryover
        self._between: Carryover | None = None
        self._notes: list[tuple[str, str]] = []
        self._told: set[str] = set()
        self.guard: Guard | None = None
        clients.install()

    def begin(self, nodeid: str, options: dict[str, Any]) -> None:
        """Guard requests from now on. Raises :class:`~stateguard.errors.ConfigError` for wrong options."""
        options = {"locate": "always", "on_leak": _kept, **options}
        if self._watch is not None:
            options.setdefault("watch", self._watch)
        self.guard = Guard(**cast("Any", options))
        self._told = set()
        if self.guard.config.mode == "on" and self._carryover != "off":
            self._between = self._between or Carryover(self.guard.config)
            self._between.before()
        clients.active = self.guard

    def leaked(self) -> str:
        """The messages of leaks that have not been told yet, if they are to fail the test."""
        guard = self.guard
        if guard is None:
            return ""
        worst: dict[str, Leak] = {}
        for leak in guard.leaks:
            told = leak.id in self._told or not at_least(leak.severity, guard.config.threshold)
            if not told and (leak.id not in worst or worst[leak.id].location is None):
                worst[leak.id] = leak
        self._told.update(worst)
        text = "\n\n".join(map(render_leak, worst.values()))
        if text and not self._fails:
            self._notes.append(("leak", text))
            return ""
        return text

    def end(self) -> str:
        """The test is over, fixtures included: what else is there to complain about?"""
        if self.guard is None:
            return ""
        complaints = [self.leaked()]
        guard, self.guard, clients.active = self.guard, None, None
        if guard.config.mode == "on" and self._between is not None:
            left = self._between.after(guard.config)
            if left and self._carryover == "fail":
                complaints.append(f"the test leaves state to the next one:\n{left}")
            elif left:
                self._notes.append(("carryover", left))
        guard.close()
        return "\n\n".join(filter(None, complaints))

    def take_notes(self) -> list[tuple[str, str]]:
        """What is to be listed in the summary."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """The session is over."""
        if self._between is not None:
            self._between.close()
        clients.uninstall()
