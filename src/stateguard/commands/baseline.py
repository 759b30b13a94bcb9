"""``stateguard baseline``: today's leaks as exemptions, so that only new ones alarm."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from stateguard.leak import SEVERITIES, at_least
from stateguard.report.merge import read_leaks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateguard.report.merge import Distinct


@click.command(short_help="Turn recorded leaks into exemptions: only new ones alarm.")
@click.argument("places", nargs=-1, required=True)
@click.option(
    "--min-severity", type=click.Choice(SEVERITIES), default="low", show_default=True,
    help="Leave out what is milder.",
)  # fmt: skip
def baseline(places: tuple[str, ...], min_severity: Any) -> None:
    """Print the leaks recorded in PLACES as exemptions for pyproject.toml.

    Paste them into [tool.stateguard]; from then on only new leaks alarm. Remove them one by one.
    """
    leaks = [one for one in read_leaks(places).worst_first() if at_least(one.leak.severity, min_severity)]
    if not leaks:
        click.echo(f"no leaks of severity {min_severity} or worse have been recorded there", err=True)
        return
    click.echo("\n".join(["[tool.stateguard]", "allow = [", *_entries(leaks), "]"]))


def _entries(leaks: Iterable[Distinct]) -> list[str]:
    """One TOML line per root: a leak's id also holds the kind of change, an exemption does not."""
    lines: dict[str, str] = {}
    for one in leaks:
        # An exemption is a glob: what cannot stand in one, or in a line of text, is any one character.
        path = "".join(
            sign if sign.isprintable() and sign not in "#*" else "?"
            for sign in one.leak.root or one.leak.path
        )
        day = datetime.fromtimestamp(one.first).date()
        reason = f"baseline: {one.leak.severity}, seen {one.count} times since {day}"
        text = json.dumps(f"{path}  # {reason}", ensure_ascii=False)
        lines.setdefault(path, f"    {text},")
    return list(lines.values())
