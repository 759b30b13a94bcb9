"""The probe's result as one self-contained page: the proof, and the users' requests in lanes."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from stateguard.report.text import clean

LONGEST = 120
"""Points that are drawn; the rest is counted."""


def render(result: dict[str, Any]) -> str:
    """The page. ``result`` is what :meth:`stateguard.probe.verdict.Result.to_dict` gives, with ``target`` and
    ``again`` (the command to which a replay token is appended).
    """
    style = _part("probe.css")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_part("probe.html"))
    shrunk = result.get("shrunk")
    return page.render(
        result=_cleaned(result),
        lanes=_lanes(shrunk) if shrunk else None,
        style=Markup(style),
        style_hash=Markup(b64encode(sha256(style.encode()).digest()).decode()),
    )


def _part(name: str) -> str:
    return files("stateguard.report").joinpath("templates", name).read_text("utf-8")


def _cleaned(value: Any) -> Any:
    """Without signs that would hide or reorder what a person reads."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(each) for key, each in value.items()}
    return [_cleaned(each) for each in value] if isinstance(value, list | tuple) else value


def _lanes(shrunk: dict[str, Any]) -> dict[str, Any]:
    """A row per point in the order in which they were come by, a column per user."""
    users = sorted({each["user"] for each in shrunk["requests"]})
    timeline = shrunk["timeline"]
    rows = []
    before = None
    names: dict[int, list[str]] = {user: [] for user in users}
    for each in shrunk["requests"]:
        names[each["user"]].append(each["request"])
    for user, turn, place, nth in timeline[:LONGEST]:
        kind = place if place in ("begin", "end") else "point"
        again = f" (time {nth})" if nth > 1 and kind == "point" else ""
        sent = names.get(user, [])
        text = sent[turn - 1] if kind == "begin" and 0 < turn <= len(sent) else place + again
        rows.append(
            {
                "column": users.index(user) if user in users else 0,
                "text": clean(text),
                "kind": kind,
                "switched": before is not None and user != before,
            }
        )
        before = user
    return {"users": users, "rows": rows, "more": max(0, len(timeline) - LONGEST)}
