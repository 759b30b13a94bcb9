"""The last lines of a run: how many of what, where most of it is, what was left out."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stateguard.finding import AuditReport
from stateguard.leak import SEVERITIES
from stateguard.report.findings.full import COLORS
from stateguard.report.text import clean
from stateguard.report.wording import counted
from stateguard.rules import RULES

MAX_FILES = 5


def render(report: AuditReport, tables: bool) -> RenderableType:
    """Totals, and tables by rule and by file when there are enough findings to lose sight of."""
    parts: list[RenderableType] = []
    if tables and len(report.findings) > 5:
        parts.extend([_by_rule(report), Text(""), _by_file(report), Text("")])
    parts.append(_totals(report))
    parts.extend(_left_out(report))
    return Group(*parts)


def _by_rule(report: AuditReport) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title="By rule", title_justify="left", title_style="bold"
    )
    table.add_column("Rule")
    table.add_column("")
    table.add_column("Findings", justify="right")
    table.add_column("Worst")
    counts = Counter(f.rule for f in report.findings)
    for code, number in sorted(counts.items()):
        worst = max((f.severity for f in report.findings if f.rule == code), key=SEVERITIES.index)
        table.add_row(code, RULES[code].summary, str(number), Text(worst, COLORS[worst]))
    return table


def _by_file(report: AuditReport) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title="By file", title_justify="left", title_style="bold"
    )
    table.add_column("File")
    table.add_column("Findings", justify="right")
    table.add_column("Rules")
    counts = Counter(f.file for f in report.findings)
    for file, number in counts.most_common(MAX_FILES):
        codes = Counter(f.rule for f in report.findings if f.file == file)
        table.add_row(
            Text(clean(file)),
            str(number),
            " ".join(f"{c}×{n}" if n > 1 else c for c, n in codes.most_common()),
        )
    rest = len(counts) - MAX_FILES
    if rest > 0:
        others = sum(counts.values()) - sum(n for _, n in counts.most_common(MAX_FILES))
        table.add_row(Text(f"{rest} more files", "dim"), str(others), "")
    return table


def _totals(report: AuditReport) -> Text:
    text = Text()
    if not report.files:
        return text.append(
            "! No Python files found, beside what is excluded: nothing was audited.", "bold yellow"
        )
    speed = f"{counted(report.files, 'file')}, {counted(report.lines, 'line')} in {_seconds(report.seconds)}"
    if report.cached:
        speed += " (cached)" if report.cached == report.files else f" ({report.cached:,} cached)"
    entries = counted(report.entry_points, "entry point") if report.entry_points else "no entry points"
    if not report.findings:
        known = report.baselined or report.older
        text.append(f"✓ {'Nothing new' if known else 'No shared state that requests change'}. ", "bold green")
    else:
        counts = Counter(f.severity for f in report.findings)
        text.append(f"✗ {counted(len(report.findings), 'finding')}: ", "bold")
        for index, severity in enumerate(s for s in reversed(SEVERITIES) if counts[s]):
            text.append(", " if index else "")
            text.append(f"{counts[severity]} {severity}", COLORS[severity])
        text.append(". ")
    return text.append(f"{speed}, {entries}.", "dim")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _left_out(report: AuditReport) -> list[RenderableType]:
    found: list[RenderableType] = []
    safe = sum(f.fixable == "safe" for f in report.findings)
    unsafe = sum(f.fixable == "unsafe" for f in report.findings)
    if safe or unsafe:
        parts = [f"{safe} with --fix"] if safe else []
        if unsafe:
            parts.append(f"{unsafe} with --fix --unsafe-fixes")
        found.append(Text(f"  Repairable: {', '.join(parts)}; add --diff to look first.", "green"))
    quiet = {name: number for name, number in report.hidden if name != "confidence"}
    if quiet:
        total = sum(quiet.values())
        words = "counters, caches and lazy initialisation" if set(quiet) == {"note"} else "quieter findings"
        least = min(quiet, key=SEVERITIES.index)
        found.append(Text(f"  {total} not shown: {words}; --min-severity {least} shows them.", "dim"))
    unsure = dict(report.hidden).get("confidence", 0)
    if unsure:
        found.append(Text(f"  {unsure} below the confidence threshold.", "dim"))
    if report.older:
        found.append(Text(f"  {report.older} from before, not shown.", "dim"))
    if report.baselined:
        found.append(Text(f"  {report.baselined} known from the baseline.", "dim"))
    if report.suppressed:
        found.append(Text(f"  {report.suppressed} suppressed by comments.", "dim"))
    if report.stale_baseline:
        number = len(report.stale_baseline)
        gone = f"{counted(number, 'finding')} of the baseline no longer exist{'s' if number == 1 else ''}"
        found.append(Text(f"  {gone}: write it again with --write-baseline.", "yellow"))
    if report.evidence:
        confirmed = sum(bool(f.confirmed) for f in report.findings)
        verb, be = "was" if confirmed == 1 else "were", "is" if len(report.missed) == 1 else "are"
        missed = "every place that leaked is a finding"
        if report.missed:
            missed = f"{counted(len(report.missed), 'place')} that leaked {be} no finding"
        found.append(
            Text(
                f"  Evidence, {counted(report.evidence, 'recorded leak')}: "
                f"{counted(confirmed, 'finding')} {verb} seen at runtime, {missed}.",
                "magenta",
            )
        )
    return found
