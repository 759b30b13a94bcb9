"""``stateguard rule SG101``: what a rule says, on the terminal."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from stateguard.report import rule_page
from stateguard.rules import RULES, Rule, find_rule


@click.command()
@click.argument("code", required=False)
@click.option(
    "--pages", type=click.Path(path_type=Path, file_okay=False), help="Write all rule pages to a directory."
)
def rule(code: str | None, pages: Path | None) -> None:
    """Explain a rule, or list all of them."""
    if pages is not None:
        pages.mkdir(parents=True, exist_ok=True)
        for one in RULES.values():
            (pages / f"{one.code}.md").write_text(rule_page.render(one), "utf-8")
        (pages / "index.md").write_text(rule_page.render_index(RULES.values()), "utf-8")
        return
    console = Console(highlight=False)
    if code is None:
        table = Table(box=None, pad_edge=False)
        for one in RULES.values():
            off = "" if one.default else "  (off by default)"
            table.add_row(Text(one.code, "bold"), one.name, Text(one.summary + off, "dim"))
        console.print(table)
        return
    found = find_rule(code)
    if found is None:
        raise click.UsageError(f"no rule is called {code!r}; `stateguard rule` lists all of them")
    _explain(console, found)


def _explain(console: Console, one: Rule) -> None:
    console.print(Text.assemble((one.code, "bold red"), " ", (one.name, "bold"), f"  {one.summary}"))
    for title, text in (("Why", one.why), ("Fix", one.fix), ("When to ignore", one.ignore)):
        console.print(Text("\n" + title, "bold"))
        console.print(Padding(" ".join(text.split()), (0, 0, 0, 2)))
    for title, code in (("Leaking", one.leaking), ("Repaired", one.repaired)):
        console.print(Text("\n" + title, "bold"))
        console.print(
            Padding(Syntax(code, "python", theme="ansi_dark", background_color="default"), (0, 0, 0, 2))
        )
    console.print(Text(f"\n{one.url}", "dim"))
