"""The leaks as one self-contained page: no other file, no network, nothing of the leaks taken for markup.

The page's data is JSON in which every ``<``, ``>`` and ``&`` is escaped; its script puts texts into the page
as text; and a content security policy allows that one script and style by their hash and nothing else.
"""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment
from markupsafe import Markup

from stateguard.report.record import clip
from stateguard.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.leak import Leak, RequestInfo
    from stateguard.report.merge import Distinct

CALLS = 12
"""Calls of the stack that are shown, innermost last."""

LANES = 16
"""Requests drawn in a swimlane; the others are counted."""


def render(
    leaks: Sequence[Distinct], title: str = "Shared-state leaks", subtitle: str = "", live: bool = False
) -> str:
    """The page, as HTML in ASCII-safe UTF-8. A ``live`` one asks ``data`` beside it for more."""
    style, script = _part("report.css"), _part("report.js")
    data = json.dumps([row(one) for one in leaks], ensure_ascii=True, separators=(",", ":"))
    for sign in "<>&":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    page = Environment(autoescape=True).from_string(_part("report.html"))
    return page.render(
        title=title,
        subtitle=subtitle,
        live=live,
        style=Markup(style),
        style_hash=Markup(content_hash(style)),
        script=Markup(script),
        script_hash=Markup(content_hash(script)),
        data=Markup(data),
    )


def _part(name: str) -> str:
    return files("stateguard.report").joinpath("templates", name).read_text("utf-8")


def content_hash(text: str) -> str:
    """What a content security policy calls a style or script by."""
    return b64encode(sha256(text.encode()).digest()).decode()


def _safe(text: str) -> str:
    """Bounded, and without signs that would hide or reorder what a person reads."""
    return clean(clip(text))


def row(one: Distinct) -> dict[str, Any]:
    """One leak as the page takes it: texts bounded and printable, nothing else."""
    leak = one.leak
    lanes = _lanes(leak)
    drawn = sum(lane["role"] == "suspect" for lane in lanes[:LANES])
    location = None
    if leak.location is not None:
        at = leak.location
        location = {
            "file": _safe(at.file),
            "line": at.line,
            "function": _safe(at.function),
            "source": _safe(at.source),
            "via": None if at.via is None else _safe(at.via),
            "calls": [
                [_safe(frame.file), frame.line, _safe(frame.function), _safe(frame.source.strip())]
                for frame in at.stack[-CALLS:]
            ],
        }
    texts = ("path", "kind", "reason", "before", "after", "fix", "contained")
    return {
        "id": one.id,
        "severity": leak.severity,
        "confidence": leak.confidence,
        **{name: _safe(getattr(leak, name)) for name in texts},
        "root": _safe(leak.root or leak.path),
        "location": location,
        "count": one.count,
        "processes": len(one.seen),
        "first": one.first,
        "last": one.last,
        "time": leak.time,
        "restored": leak.restored,
        "after_response": leak.after_response,
        "lanes": lanes[:LANES],
        "more": sum(lane["role"] == "reader" for lane in lanes[LANES:])
        + leak.in_flight_count
        - len(leak.in_flight),
        "suspects": leak.suspect_count,
        "suspects_exact": leak.suspect_count_exact,
        "suspects_drawn": drawn,
    }


def _lanes(leak: Leak) -> list[dict[str, Any]]:
    """The requests around the write: who did it, who may have, who could read it."""
    lanes: dict[str, dict[str, Any]] = {}
    roles: list[tuple[str, Sequence[RequestInfo]]] = [
        ("guilty", (leak.request,) if leak.request is not None else ()),
        ("suspect", leak.suspects),
        ("reader", sorted(leak.in_flight, key=lambda request: request.started)),
    ]
    for role, requests in roles:
        for request in requests:
            texts = {name: _safe(getattr(request, name)) for name in ("id", "method", "path")}
            times = {"started": request.started, "ended": request.ended}
            lanes.setdefault(request.id, {**texts, **times, "role": role})
    return list(lanes.values())
