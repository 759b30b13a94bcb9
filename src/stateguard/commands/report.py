"""``stateguard report``: the leaks of all workers and hosts, as a table, JSON or a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from stateguard.errors import StateGuardError
from stateguard.leak import SEVERITIES, at_least
from stateguard.report.merge import Distinct, Merged, read_leaks
from stateguard.report.table import render
from stateguard.report.text import clean
from stateguard.report.wording import counted


@click.command(short_help="Merge the leaks that all workers have recorded.")
@click.argument("places", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page to FILE."
)
@click.option(
    "--min-severity", type=click.Choice(SEVERITIES), default="low", show_default=True,
    help="Leave out what is milder.",
)  # fmt: skip
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there is a leak to show.")
def report(
    places: tuple[str, ...], as_json: bool, html: Path | None, min_severity: Any, exit_code: bool
) -> None:
    """Merge the leaks in PLACES, where guards report to: directories, files from there, or redis://..."""
    merged = read_leaks(places)
    every = merged.worst_first()
    shown = [one for one in every if at_least(one.leak.severity, min_severity)]
    if html is not None:
        _write_page(html, merged, every)
    elif as_json:
        json.dump(_as_json(merged, shown), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print(merged, shown, len(every) - len(shown), min_severity)
    if shown and exit_code:
        raise SystemExit(1)


def _write_page(file: Path, merged: Merged, leaks: list[Distinct]) -> None:
    try:
        from stateguard.report.html import render as render_page
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("jinja2", "markupsafe"):
            raise
        raise StateGuardError(
            "--html needs jinja2. Install it with:\n\n    pip install 'stateguard-middleware[report]'"
        ) from None
    processes = {process for one in leaks for process in one.seen}
    number = counted(sum(one.count for one in leaks), "occurrence")
    subtitle = f"{number} in {counted(len(processes), 'process', 'processes')}"
    try:
        file.write_text(render_page(leaks, subtitle=subtitle), "utf-8")
    except OSError as error:
        raise StateGuardError(f"cannot write {file}: {error.strerror or error}") from error
    click.echo(f"{counted(len(leaks), 'distinct leak')} written to {file}", err=True)


def _as_json(merged: Merged, shown: list[Distinct]) -> dict[str, Any]:
    leaks = [
        {**one.leak.to_dict(), "count": one.count, "first": one.first, "last": one.last, "seen": one.seen}
        for one in shown
    ]
    return {
        "leaks": leaks,
        "lines": merged.lines,
        "unreadable": merged.unreadable,
        "unused_allowances": merged.unused_allowances(),
    }


def _print(merged: Merged, shown: list[Distinct], milder: int, min_severity: str) -> None:
    console = Console(highlight=False)
    if shown:
        console.print(render(shown))
    processes = {process for one in merged.leaks.values() for process in one.seen}
    if merged.leaks:
        words = [counted(len(shown), "distinct leak"), counted(sum(one.count for one in shown), "occurrence")]
        words = [", ".join(words), counted(len(processes), "process", "processes")]
    else:
        words = ["no leaks have been recorded there"]
    if milder:
        words.append(f"{milder} milder than {min_severity} left out")
    if merged.unreadable:
        words.append(f"{counted(merged.unreadable, 'line')} could not be read")
    console.print("; ".join(words), style="bold" if shown else "yellow" if merged.unreadable else "green")
    for entry in merged.unused_allowances():
        console.print(Text(f"exemption that matches nothing: {clean(entry)}", "yellow"))
