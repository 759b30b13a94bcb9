"""The full form for terminals: the line, what is shared, who reaches it, and the repaired line."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.text import Text

from stateguard.finding import Finding, MissedLeak
from stateguard.report.text import clean
from stateguard.rules import RULES

COLORS = {"critical": "bold red", "high": "red", "low": "yellow", "note": "cyan"}
MAX_OTHER_WRITES = 4
MAX_WIDTH = 110
"""Longer lines of prose are hard to read, however wide the terminal."""
_CODE_THEME = "ansi_dark"


def render(finding: Finding, console: Console) -> RenderableType:
    """One finding as a block as wide as the console."""
    color = COLORS[finding.severity]
    colors = console.color_system is not None
    where = f"{finding.file}:{finding.line}:{finding.column}"
    if finding.cell:
        where = f"{finding.file} ({finding.cell})"
    where = clean(where)
    head = Text.assemble(
        (finding.rule, color),
        " ",
        (finding.name, f"bold link {RULES[finding.rule].url}"),
        "  ",
        (finding.severity, color),
        (f" · {finding.confidence} confidence", "dim"),
    )
    if finding.confirmed:
        head.append(f" · seen at runtime {finding.confirmed}×", "bold magenta")
    parts: list[RenderableType] = [head, Text("  --> ", "blue").append(where, "default")]
    parts.extend(_frame(finding, color, colors))
    parts.extend(_hanging(Text("  "), _words(finding.message, "bold", colors), console))
    for label, text, style in _rows(finding):
        prefix = Text("    ").append("= ", "blue").append(f"{label:<9}", style)
        parts.extend(_hanging(prefix, _words(text, "", colors), console))
    parts.append(Text(""))
    return Group(*parts)


def _hanging(prefix: Text, body: Text, console: Console) -> Iterator[Text]:
    """Wrapped lines, the later ones indented as far as the prefix is long."""
    width = max(min(console.width, MAX_WIDTH) - prefix.cell_len, 30)
    for number, line in enumerate(body.wrap(console, width)):
        line.rstrip()
        start = prefix if number == 0 else Text(" " * prefix.cell_len)
        yield start.copy().append_text(line)


def _words(source: str, style: str, colors: bool) -> Text:
    """Text in which code stands out: in colour, or between its backticks where there are no colours."""
    text = Text()
    for index, part in enumerate(clean(source).split("`")):
        if index % 2:
            text.append(part if colors else f"`{part}`", "cyan")
        else:
            text.append(part, style)
    return text


def _frame(finding: Finding, color: str, colors: bool) -> Iterator[RenderableType]:
    if not finding.frame:
        return
    width = len(str(finding.frame[-1][0]))
    yield Text(" " * (width + 1) + "│", "blue")
    for number, line in finding.frame:
        inside = finding.line <= number <= finding.end_line
        row = Text().append(f"{number:>{width}} ", "bold " + color if inside else "blue")
        row.append("│ ", "blue")
        row.append_text(_highlighted(line, colors))
        row.no_wrap = True
        row.overflow = "ellipsis"
        yield row
        if inside:
            start = finding.column - 1 if number == finding.line else len(line) - len(line.lstrip())
            end = finding.end_column - 1 if number == finding.end_line else len(line.rstrip())
            if end > start:
                cells = _expanded(line[:start])
                marks = "━" * max(_expanded(line[:end]) - cells, 1)
                under = Text().append(" " * (width + 1) + "│ ", "blue").append(" " * cells + marks, color)
                under.no_wrap = True
                under.overflow = "crop"
                yield under
    yield Text(" " * (width + 1) + "│", "blue")


def _shown(line: str) -> str:
    """A source line as it is printed: what could move the cursor or turn the text around is escaped."""
    return clean(line.expandtabs(4))


def _expanded(text: str) -> int:
    return Text(_shown(text)).cell_len


def _highlighted(line: str, colors: bool) -> Text:
    line = _shown(line)
    if not colors:
        return Text(line)
    from rich.syntax import Syntax  # takes longer to import than most audits take

    text = Syntax("", "python", theme=_CODE_THEME, background_color="default").highlight(line)
    text.rstrip()
    return text


def _rows(finding: Finding) -> Iterator[tuple[str, str, str]]:
    if finding.defined_at is not None and finding.defined_source and finding.writes:
        spot = finding.defined_at
        yield "defined", f"{spot.file}:{spot.line}  `{_short(finding.defined_source)}`", "bold"
    others = finding.writes[1:]
    if others:
        places = [
            f"{w.file}:{w.line} in `{w.function.rpartition('.')[2]}`" for w in others[:MAX_OTHER_WRITES]
        ]
        more = f" and {len(others) - MAX_OTHER_WRITES} more" if len(others) > MAX_OTHER_WRITES else ""
        yield "also", ", ".join(places) + more, "bold"
    if finding.reachable_from:
        way = f": {' → '.join(finding.trail)}" if len(finding.trail) > 1 else ""
        yield "reached", f"from {', '.join(finding.reachable_from)}{way}", "bold"
    for note in finding.notes:
        yield "note", note, "bold cyan"
    if finding.help:
        yield "help", finding.help, "bold green"
    if finding.replacement:
        yield "fix", f"`{finding.replacement}`" + _how(finding), "bold green"


def _how(finding: Finding) -> str:
    if finding.fixable == "safe":
        return "  (--fix does it)"
    return "  (--fix --unsafe-fixes does it)" if finding.fixable == "unsafe" else ""


def _short(source: str) -> str:
    return source if len(source) <= 72 else source[:69] + "..."


def render_missed(leaks: tuple[MissedLeak, ...]) -> RenderableType:
    """Runtime leaks that no finding explains."""
    lines: list[RenderableType] = [Text("Seen at runtime, not found by the audit", "bold magenta")]
    for leak in leaks:
        row = (
            Text("  ")
            .append(clean(leak.path), "cyan")
            .append(clean(f"  {leak.count}×  {leak.file}:{leak.line} in {leak.function}"))
        )
        lines.append(row)
        lines.append(Text(f"      {leak.why}", "dim"))
    lines.append(Text(""))
    return Group(*lines)
