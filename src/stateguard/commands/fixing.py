"""``stateguard audit --fix``: repair, or show what would be repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from stateguard.errors import StateGuardError
from stateguard.finding import AuditReport
from stateguard.report.text import clean
from stateguard.report.wording import counted

MISSING = "--fix needs libcst. Install it with:\n\n    pip install 'stateguard-middleware[audit]'"
ROUNDS = 5
"""A repair can bring the next finding to light (an alias of what was repaired); a few rounds settle it."""


def fix_findings(
    report: AuditReport,
    again: Callable[[], AuditReport],
    root: Path,
    unsafe: bool,
    look: bool,
    console: Console,
) -> int:
    """Repair the findings of a report; ``again`` audits anew. The exit code is 1 while any is left."""
    try:
        from stateguard.audit.fix.apply import repair_files
        from stateguard.audit.fix.plan import plan
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "libcst":
            raise
        raise StateGuardError(MISSING) from None
    number = 0
    for _ in range(ROUNDS):
        outcome = repair_files(plan(report.findings, unsafe), root, write=not look)
        for file, reason in outcome.refused.items():
            console.print(Text(clean(f"{file}: left alone: {reason}"), "yellow"))
        if look:
            _show(outcome.diffs, console)
            what = f"{counted(len(outcome.made), 'repair')} in {counted(len(outcome.diffs), 'file')}"
            console.print(Text(f"{what} would be made.{_unsafe_ones(report, unsafe)}", "bold"))
            return 1 if outcome.made else 0
        number += len(outcome.made)
        for one in outcome.made:
            console.print(
                Text.assemble(("repaired ", "green"), clean(f"{one.file}:{one.line} {one.rule} {one.name}"))
            )
        if not outcome.made:
            break
        report = again()
    left = len(report.findings)
    console.print(Text(f"{number} repaired, {left} left.{_unsafe_ones(report, unsafe)}", "bold"))
    return 1 if left else 0


def _unsafe_ones(report: AuditReport, unsafe: bool) -> str:
    number = 0 if unsafe else sum(one.fixable == "unsafe" for one in report.findings)
    return f" {number} more with --unsafe-fixes." if number else ""


def _show(diffs: dict[str, str], console: Console) -> None:
    from rich.syntax import Syntax  # slow to import, and only needed here

    for text in diffs.values():
        if console.is_terminal:
            shown = "\n".join(clean(line) for line in text.expandtabs(4).split("\n"))
            console.print(Syntax(shown, "diff", theme="ansi_dark", background_color="default"))
        else:
            console.file.write(text)
