"""How the main job looks on a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from examples.customers import CUSTOMERS
from examples.load import TURNS, Reply
from examples.outcome import FAULTS, Outcome

TOTAL = len(CUSTOMERS) * len(TURNS)
SEVERITY = {"critical": "bold white on red", "high": "bold red", "low": "yellow", "note": "dim"}
REPORTS_SHOWN = 3


def opening(console: Console, service: str, server: str, local_api: str | None) -> None:
    """Say what is about to happen."""
    where = (
        f"a local stand-in on {local_api} (set ANTHROPIC_API_KEY to use the real one)"
        if local_api
        else "the real one: ANTHROPIC_API_KEY is set"
    )
    text = Text.assemble(
        (f"{len(CUSTOMERS)} customers talk to one support agent at the same time.\n", "bold"),
        f"Service       {service.title()} under {server}, the guard on\n",
        f"Messages API  {where}",
    )
    console.print(Panel(text, title="stateguard", title_align="left", border_style="cyan", padding=(0, 1)))
    console.rule("[bold]1 · the service as teams write it[/]", align="left")


@contextmanager
def progress(console: Console) -> Iterator[Callable[[Reply], None]]:
    """A bar that grows with each answer, and counts the tainted ones."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("answers"),
        TimeElapsedColumn(),
        TextColumn("[red]{task.fields[tainted]}"),
        console=console,
    )
    with bar:
        task = bar.add_task(f"{len(CUSTOMERS)} conversations", total=TOTAL, tainted="")
        tainted = 0

        def on_reply(reply: Reply) -> None:
            nonlocal tainted
            tainted += bool(reply.foreign_words)
            bar.update(task, advance=1, tainted=f"{tainted} with foreign words" if tainted else "")

        yield on_reply


def bleeding(console: Console, outcome: Outcome) -> None:
    """What customers read that was not theirs."""
    examples = [_worst(outcome, question) for _, question in TURNS]
    for reply in filter(None, examples):
        console.print()
        console.print(Text.assemble((f"  {reply.customer.name:>8} ", "bold cyan"), reply.question))
        console.print(Text.assemble(("   service ", "bold"), _marked(reply)), soft_wrap=False)
    console.print()
    console.print(_bleed_counts(outcome))


def reports(console: Console, outcome: Outcome) -> None:
    """The guard's log messages as they stand in the service's log; the most telling ones first."""
    records = re.split(r"^(?=[A-Z]+ [\w.]+: )", outcome.log, flags=re.MULTILINE)
    for record in records:
        if record.strip() and " stateguard: " not in record:
            text = Text(record.rstrip())
            console.print(Panel(text, title="something else in the service's log", border_style="yellow"))
    # A leak is reported when it is first seen, and again when its line is found: the later one says more.
    found: dict[str, str] = {}
    for record in records:
        subject = re.match(r"[A-Z]+ stateguard: (.+?) \[.*\n ", record)
        if subject:
            found[subject[1]] = record.rstrip()
    if not found:
        return
    shown = sorted(found.values(), key=_most_telling_first)[:REPORTS_SHOWN]
    console.print()
    console.print(Text(f"From the service's log, {len(shown)} of {len(found)} reports:", "bold"))
    for record in shown:
        title, _, rest = record.partition("\n")
        console.print()
        console.print(Text(title, "red"))
        console.print(Text(rest))


def leaks(console: Console, outcome: Outcome) -> None:
    """One row for each distinct leak."""
    table = Table(
        title=f"All that the guard found (names below {outcome.package})",
        title_justify="left",
        header_style="bold",
        show_lines=True,
    )
    for column in ("severity", "state", "change", "times"):
        table.add_column(column, overflow="fold", justify="right" if column == "times" else "left")
    for leak, times in outcome.distinct_leaks:
        fault = next((text for part, text in FAULTS.items() if part in leak["path"]), "")
        state = Text.assemble((leak["path"].removeprefix(outcome.package + "."), "bold"), "\n", fault)
        change = f"{leak['kind']} ({leak['confidence']})"
        if leak["location"]:
            change += f"\n{_place(leak['location'])}"
        table.add_row(Text(leak["severity"], SEVERITY[leak["severity"]]), state, change, str(times))
    console.print()
    console.print(table)


def verdict(console: Console, before: Outcome, after: Outcome, good: bool, seconds: float) -> None:
    """Both runs side by side, and whether it all came out as it should."""
    table = Table(header_style="bold", show_edge=True)
    table.add_column("")
    table.add_column("leaking", justify="right")
    table.add_column("repaired", justify="right")
    for label, values in (
        ("answers", [len(outcome.replies) for outcome in (before, after)]),
        ("answers that failed", [len(outcome.failed) for outcome in (before, after)]),
        ("answers with another customer's words", [len(outcome.tainted) for outcome in (before, after)]),
        ("API calls in another customer's name", [outcome.wrong_name for outcome in (before, after)]),
        (
            "distinct leaks reported",
            [len({leak["id"] for leak in outcome.leaks}) for outcome in (before, after)],
        ),
        ("of the five faults found", [sum(bool(before.leaks_of(fault)) for fault in FAULTS), None]),
    ):
        table.add_row(label, *("-" if value is None else str(value) for value in values))
    console.print()
    console.print(table)
    if good:
        message = "[bold green]✔ As expected:[/] every fault was found, and the repaired twin leaks nothing."
    else:
        missing = [fault for fault in FAULTS if not before.leaks_of(fault)]
        message = "[bold red]✘ Not as expected.[/] " + (
            f"Not found: {', '.join(missing)}." if missing else "See the table."
        )
    console.print(f"{message} [dim]({seconds:.1f} s)[/]")


def _most_telling_first(report: str) -> tuple[bool, bool]:
    return not report.startswith("ERROR"), "line not known" in report


def _worst(outcome: Outcome, template: str) -> Reply | None:
    """The shortest answer to this question that holds another customer's words: easiest to read."""
    candidates = [
        reply
        for reply in outcome.tainted
        if reply.question == template.format(reply.customer) and reply.status == 200
    ]
    return min(candidates, key=lambda reply: len(reply.text), default=None)


def _marked(reply: Reply, limit: int = 240) -> Text:
    text = Text(reply.text if len(reply.text) <= limit else reply.text[:limit] + " …")
    text.highlight_words(reply.foreign_words, "bold red")
    return text


def _bleed_counts(outcome: Outcome) -> Text:
    tainted = len(outcome.tainted)
    text = Text(f"  {tainted} of {len(outcome.replies)} answers held another customer's words")
    if outcome.wrong_name is not None:
        text.append(
            f"; {outcome.wrong_name} of {len(CUSTOMERS)} first calls went out in another customer's name"
        )
    return text.append(".")


def _place(location: dict[str, Any]) -> str:
    return f"{Path(location['file']).name}:{location['line']} in {location['function']}"
