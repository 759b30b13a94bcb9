"""One line per finding, as editors and ``grep`` read them."""

from __future__ import annotations

from stateguard.finding import AuditReport
from stateguard.report.text import clean


def render(report: AuditReport) -> str:
    """``file:line:column: SG101 critical message [reachable from POST /chat]``."""
    lines = []
    for one in report.findings:
        reach = f" [reachable from {', '.join(one.reachable_from)}]" if one.reachable_from else ""
        confirmed = f" [seen at runtime {one.confirmed}x]" if one.confirmed else ""
        where = f"{one.file}:{one.cell.replace(', ', ':')}" if one.cell else f"{one.file}:{one.line}"
        lines.append(f"{where}:{one.column}: {one.rule} {one.severity} {one.message}{reach}{confirmed}")
    lines.extend(
        f"{leak.file}:{leak.line}:1: missed {leak.path} changed at runtime in {leak.function}: {leak.why}"
        for leak in report.missed
    )
    return "".join(clean(line) + "\n" for line in lines)
