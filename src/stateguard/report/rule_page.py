"""The documentation page of a rule, in Markdown. ``docs/rules/`` holds what this module writes."""

from __future__ import annotations

from collections.abc import Iterable

from stateguard.rules import Rule


def render(rule: Rule) -> str:
    """One page."""
    off = "" if rule.default else " Off unless selected (`--select " + rule.code + "`)."
    parts = [
        f"# {rule.code} {rule.name}",
        f"{rule.summary}. Read from the source by `stateguard audit`.{off}",
        "## Why",
        rule.why,
        "## Leaking",
        f"```python\n{rule.leaking}\n```",
        "## Repaired",
        f"```python\n{rule.repaired}\n```",
        "## Fix",
        _sentence(rule.fix),
        "## When to ignore",
        rule.ignore,
        f"```python\n...  # stateguard: ignore[{rule.code}] the reason\n```",
    ]
    if rule.code in ("SG198", "SG199"):
        parts.pop()
    return "\n\n".join(parts) + "\n"


def render_index(rules: Iterable[Rule]) -> str:
    """The list of all rules."""
    rows = ["# Rules", "", "| code | name | what it finds |", "| --- | --- | --- |"]
    for rule in rules:
        off = "" if rule.default else " (off by default)"
        rows.append(f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.summary}{off} |")
    return "\n".join(rows) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
