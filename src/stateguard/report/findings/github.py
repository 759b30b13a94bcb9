"""GitHub Actions workflow commands: findings become annotations on the lines of a pull request.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from stateguard.finding import AuditReport
from stateguard.report.text import clean

_LEVELS = {"critical": "error", "high": "error", "low": "warning", "note": "notice"}


def render(report: AuditReport) -> str:
    """One ``::error file=...::message`` line per finding."""
    lines = []
    for one in report.findings:
        properties = {
            "title": f"{one.rule} {one.name}",
            "file": one.file,
            "line": str(one.line),
            "col": str(one.column),
            "endLine": str(one.end_line),
        }
        if one.end_line == one.line:
            properties["endColumn"] = str(one.end_column)
        # The file must stay as it is on disk; the words are for people, in a log with colours.
        given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
        text = clean(one.message)
        if one.reachable_from:
            text += "\n" + clean(f"reachable from {', '.join(one.reachable_from)}")
        if one.help:
            text += f"\nhelp: {one.help}"
        lines.append(f"::{_LEVELS[one.severity]} {given}::{_data(text)}")
    return "".join(line + "\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
