"""How the probe's result is shown: live, on the terminal, as JUnit, as a page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self
from xml.sax.saxutils import escape, quoteattr

from rich.live import Live
from rich.text import Text

from stateguard.probe.telling import tell
from stateguard.report.text import clean
from stateguard.report.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from stateguard.probe.plan import Plan
    from stateguard.probe.verdict import Result

_COLOURS = {
    "LEAK": "bold red",
    "PASS": "bold green",
    "INCONCLUSIVE": "bold yellow",
    "INVALID": "bold magenta",
}


class LiveStatus:
    """One line on a terminal while the probe runs; nothing elsewhere."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._plan = plan
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._started = time.monotonic()
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, result: Result) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if not self._console.is_terminal or now - self._shown < 0.1:
            return
        self._shown = now
        self._live.update(self.line(result, now - self._started), refresh=True)

    def line(self, result: Result, seconds: float) -> Text:
        """Requests, throughput, errors, interleavings, and the verdict so far."""
        rate = result.sent / seconds if seconds else 0.0
        parts = [f"{result.sent}/{self._plan.requests} requests", f"{rate:.0f}/s"]
        parts.append(counted(result.errors, "error"))
        if result.schedules:
            parts.append(counted(result.schedules, "interleaving"))
        if result.bled:
            parts.append("LEAK: making it small" if result.schedules else "LEAK")
            return _line(parts, _COLOURS["LEAK"])
        parts.append(f"no bleed yet, {len(result.controlled)} of {result.users} controls")
        return _line(parts)


def _line(parts: list[str], style: str = "") -> Text:
    return Text("  ".join(parts), style, no_wrap=True, overflow="ellipsis")


def show(result: Result, again: str, console: Console) -> None:
    """Print the verdict, the proofs, and how to repeat it."""
    console.print(Text(result.verdict, _COLOURS[result.verdict]), Text(clean(result.reason)))
    for line in tell(result, lambda token: f"{again} --replay {token}"):
        console.print(Text(line, "yellow" if line.startswith(("  note:", "  left out")) else ""))
    parts = [counted(result.sent, "request")]
    if result.schedules:
        parts.append(counted(result.schedules, "interleaving"))
    parts += [counted(result.errors, "error"), f"{result.seconds:.1f} seconds"]
    console.print(Text(", ".join(parts), "dim"))


def to_junit(target: str, result: Result, again: str) -> str:
    """A JUnit report of one test."""
    kind = "failure" if result.verdict == "LEAK" else "error"
    inside = ""
    if result.verdict != "PASS":
        lines = [clean(str(bleed)) for bleed in result.bleeds] or [clean(result.reason)]
        lines += [f"carried by {carrier}" for bleed in result.bleeds[:5] for carrier in bleed.carriers]
        if result.shrunk is not None:
            lines.append(f"repeat it: {again} --replay {result.shrunk.token}")
        text = escape("\n".join(lines))
        message = quoteattr(clean(f"{result.verdict}: {result.reason}"))
        inside = f"<{kind} message={message}>{text}</{kind}>"
    failures, wrong = int(kind == "failure"), int(bool(inside) and kind == "error")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuite name="stateguard probe" tests="1" failures="{failures}" errors="{wrong}">'
        f'<testcase classname="stateguard.probe" name={quoteattr(clean(target))} time="{result.seconds:.3f}">'
        f"{inside}</testcase></testsuite>\n"
    )


def to_html(target: str, result: Result, again: str) -> str:
    """One self-contained page. Raises :class:`~stateguard.errors.StateGuardError` where jinja2 is missing."""
    from stateguard.report.probe_page import render

    page: dict[str, Any] = {"target": target, "again": again, **result.to_dict()}
    return render(page)
