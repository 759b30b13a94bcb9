"""``python -m tests.corpus``: run every case and print what was found, beside the naive snapshot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.corpus import judge
from tests.corpus.catalogue import EIGHT, HARMLESS, MIRRORS, UPSTREAM
from tests.corpus.judge import Verdict
from tests.corpus.shapes import QUIET, SHAPES
from tests.corpus.variants import VARIANTS

EVERY = (*UPSTREAM, *MIRRORS, *VARIANTS, *EIGHT, *SHAPES, *HARMLESS, *QUIET)
HEAD = ("case", "source", "found", "path", "request", "line", "accused", "worst", "naive", "naive accused")


def _mark(value: bool) -> str:
    return "yes" if value else "NO"


def _worst(verdict: Verdict) -> str:
    order = ("note", "low", "high", "critical")
    return max((leak.severity for leak in verdict.leaks), key=order.index, default="-")


def row(verdict: Verdict) -> tuple[str, ...]:
    """One line of the table."""
    case = verdict.case
    if case.kind == "harmless":
        said = ("-", "-", "-", "-", "-", _worst(verdict), "alarm" if verdict.naive_found else "-", "-")
    else:
        said = (
            _mark(verdict.found),
            _mark(verdict.right_path),
            _mark(verdict.right_request)
            + ("" if verdict.exact or not verdict.right_request else " (suspected)"),
            _mark(verdict.right_line),
            str(len(verdict.innocents_accused)),
            _worst(verdict),
            "found" if verdict.naive_found else "missed",
            str(len(verdict.naive_accused)),
        )
    return (case.name, case.source, *said)


def totals(verdicts: Sequence[Verdict]) -> list[str]:
    """The sums below the table."""
    leaks = [verdict for verdict in verdicts if verdict.case.kind == "leak"]
    harmless = [verdict for verdict in verdicts if verdict.case.kind == "harmless"]
    n, m = len(leaks), len(harmless)
    return [
        f"{n} leaks: found {sum(v.found for v in leaks)}, right path {sum(v.right_path for v in leaks)}, "
        f"right request {sum(v.right_request for v in leaks)} (exact {sum(v.exact for v in leaks)}), "
        f"right line {sum(v.right_line for v in leaks)}, "
        f"innocent requests accused {sum(len(v.innocents_accused) for v in leaks)}",
        f"{m} harmless: rated high {sum(bool(v.high) for v in harmless)}",
        f"naive before/after, same runs: found {sum(v.naive_found for v in leaks)} of {n}, "
        f"an innocent accused in {sum(bool(v.naive_accused) for v in leaks)} of {n}, "
        f"alarm on {sum(v.naive_found for v in harmless)} of {m} harmless",
    ]


def _print(rows: Sequence[Sequence[str]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
        for line in (HEAD, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(*HEAD, box=None, pad_edge=False)
    for line in rows:
        table.add_row(*line)
    Console(width=max(Console().width, 190)).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases whose name contains one of the given words (default: all)."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("words", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--locate", default="always", choices=("auto", "always", "never"))
    parser.add_argument("-v", "--verbose", action="store_true", help="print every leak that was reported")
    options = parser.parse_args(argv)
    verdicts = [
        judge.run(case, locate=options.locate)
        for case in EVERY
        if not options.words or any(word in case.name for word in options.words)
    ]
    _print([row(verdict) for verdict in verdicts])
    print()
    print("\n".join(totals(verdicts)))
    if options.verbose:
        for verdict in verdicts:
            print(f"\n{verdict.case.name}")
            for leak in verdict.leaks:
                who = leak.request.id if leak.request else [suspect.id for suspect in leak.suspects]
                print(
                    f"  {leak.severity} {leak.path} {leak.kind}: {leak.confidence} {who} at {leak.location}"
                )
                print(f"    {leak.reason}; {leak.before} -> {leak.after}")
    wrong = [
        verdict
        for verdict in verdicts
        if verdict.innocents_accused
        or (verdict.case.kind == "leak" and not verdict.right_path)
        or (verdict.case.kind == "harmless" and verdict.high)
    ]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
