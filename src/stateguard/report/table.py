"""The distinct leaks as a table on the terminal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from stateguard.report.text import clean, short_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateguard.leak import Location
    from stateguard.report.merge import Distinct

STYLES = {"critical": "bold white on red", "high": "bold red", "low": "yellow", "note": "dim"}


def render(leaks: Iterable[Distinct]) -> Table:
    """One row per leak. All text of the leaks is shown as it is: markup and escapes in it do nothing."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("severity")
    table.add_column("times", justify="right")
    table.add_column("processes", justify="right")
    table.add_column("what, where and the fix", ratio=1, overflow="fold")
    table.add_column("first and last seen", no_wrap=True)
    for one in leaks:
        leak = one.leak
        what = Text.assemble(
            (clean(leak.path), "bold"), " ", clean(leak.kind), (f"  {leak.confidence}", "dim")
        )
        what.append("\n" + _where(leak.location), "cyan")
        if leak.fix:
            what.append("\n" + clean(leak.fix), "green")
        table.add_row(
            Text(leak.severity, STYLES[leak.severity]),
            str(one.count),
            str(len(one.seen)),
            what,
            f"{_when(one.first)}\n{_when(one.last)}",
        )
    return table


def _where(location: Location | None) -> str:
    if location is None:
        return "line not known"
    source = f"  {location.source.strip()}" if location.source else ""
    return clean(f"{short_file(location.file)}:{location.line} in {location.function}{source}")


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S")
