"""``stateguard audit --fix``: repair, or show what would be repaired."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from stateguard.audit import AuditOptions
from stateguard.finding import AuditReport


def fix_findings(
    report: AuditReport, paths: list[Path], options: AuditOptions, unsafe: bool, look: bool, console: Console
) -> int:
    """Repair the findings of a report. Returns the exit code."""
    return 2
