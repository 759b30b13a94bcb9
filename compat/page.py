"""What came out, as a table for the terminal and as the documentation's page."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
            lines.append(f"STOPPED   the {way} run took longer than {suite.seconds:.0f} s")
    if result.guarded.tally.calls == 0:
        lines.append("NOTHING   was guarded in this run: it proves nothing")
    return lines


def write(page: Path, results: Mapping[str, tuple[Suite, Comparison]]) -> None:
    """Put the results between the marks of the documentation's page."""
    lines = [
        f"Run on {datetime.now(UTC):%Y-%m-%d}, CPython {platform.python_version()}, {platform.system()}.",
        "",
        f"| {' | '.join(HEADER)} |",
        "| --- |" + " ---: |" * (len(HEADER) - 1),
    ]
    lines += [f"| {' | '.join(row(title, result))} |" for title, (_, result) in results.items()]
    notes = [
        f"- **{title}**: `{line}`"
        for title, (suite, result) in results.items()
        for line in (re.sub(r"\s+", " ", text) for text in details(suite, result))
    ]
    left_out = [
        f"- **{title}**: {suite.left_out}." for title, (suite, _) in results.items() if suite.left_out
    ]
    if notes:
        lines += ["", "Tests that did not come out the same:", "", *notes]
    if left_out:
        lines += ["", "Left out:", "", *left_out]
    text = page.read_text("utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:start]}\n{chr(10).join(lines)}\n{text[end:]}", "utf-8")
