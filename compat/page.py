"""What came out, as a table for the terminal and as the documentation's page."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from compat.suites import SUITES

if TYPE_CHECKING:
    from compat.compare import Comparison
    from compat.suites import Suite

HEADER = (
    "suite",
    "tests",
    "passed",
    "failed both ways",
    "changed",
    "known",
    "unsteady",
    "apps",
    "calls",
    "leaks",
)
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def row(title: str, result: Comparison) -> tuple[str, ...]:
    """One suite."""
    counts = result.counts
    numbers = (
        len(result.guarded.outcomes),
        counts["passed"],
        counts["failed"],
        len(result.changed),
        len(result.expected),
        len(result.unsteady),
        result.guarded.tally.apps,
        result.guarded.tally.calls,
        result.guarded.tally.leaks,
    )
    return (title, *(f"{number:,}" for number in numbers))


def table(rows: list[tuple[str, ...]]) -> str:
    """Aligned columns."""
    every = [HEADER, *rows]
    widths = [max(len(line[i]) for line in every) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in every)


def details(suite: Suite, result: Comparison) -> list[str]:
    """Every test that did not come out the same, and what the guard failed at, one line each."""
    lines = [f"CHANGED   {test}: {what}" for test, what in result.changed.items()]
    lines += [f"known     {test}: {what} ({suite.expected[test]})" for test, what in result.expected.items()]
    lines += [f"unsteady  {test}: {what}" for test, what in result.unsteady.items()]
    lines += [f"FAULT     {what}: {times} times" for what, times in result.guarded.tally.failures.items()]
    for way, run in (("plain", result.plain), ("guarded", result.guarded)):
        if not run.finished:
            lines.append(f"STOPPED   the {way} run broke off, or took longer than {suite.seconds:.0f} s")
    if result.guarded.tally.calls == 0:
        lines.append("NOTHING   was guarded in this run: it proves nothing")
    return lines


def keep(directory: Path, title: str, suite: Suite, result: Comparison) -> None:
    """Remember the result of one suite: suites are run one at a time, and written down together."""
    directory.mkdir(parents=True, exist_ok=True)
    record = {
        "title": title,
        "row": row(title, result),
        "details": details(suite, result),
        "left_out": suite.left_out,
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
    }
    (directory / f"{suite.name}.json").write_text(json.dumps(record, indent=1), "utf-8")


def write(page: Path, directory: Path) -> None:
    """Put all results that are kept between the marks of the documentation's page."""
    kept = [json.loads(file.read_text("utf-8")) for file in sorted(directory.glob("*.json"))]
    days = sorted({record["when"] for record in kept})
    pythons = " and ".join(sorted({f"CPython {record['python']}" for record in kept}))
    lines = [
        f"Run on {' to '.join(dict.fromkeys([days[0], days[-1]]))}, {pythons}, {platform.system()}.",
        "",
        f"| {' | '.join(HEADER)} |",
        "| --- |" + " ---: |" * (len(HEADER) - 1),
    ]
    lines += [f"| {' | '.join(record['row'])} |" for record in kept]
    notes = [
        f"- **{record['title']}**: `{' '.join(line.split())}`"
        for record in kept
        for line in record["details"]
    ]
    left_out = [f"- **{record['title']}**: {record['left_out']}." for record in kept if record["left_out"]]
    if notes:
        lines += ["", "Tests that did not come out the same:", "", *notes]
    if left_out:
        lines += ["", "Left out:", "", *left_out]
    missing = [name for name in SUITES if not (directory / f"{name}.json").exists()]
    if missing:
        lines += ["", f"Not run to the end yet: {', '.join(missing)}."]
    text = page.read_text("utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:start]}\n{chr(10).join(lines)}\n{text[end:]}", "utf-8")
