"""Leaks to report, made by hand."""

from __future__ import annotations

from typing import Any

from stateguard.leak import Leak, Location, RequestInfo

REQUEST = RequestInfo("r-1", "http", "GET", "/chat", 1000.0)
HOSTILE = (
    '\x1b[2J\x1b]0;owned\x07\r\n{"severity": "note"}\u2028\u202e\x00\ud800'
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>[bold red]{{7*7}}"
)


def leak(path: str = "app.HISTORY", **changes: Any) -> Leak:
    values: dict[str, Any] = {
        "path": path,
        "kind": "appended",
        "severity": "high",
        "reason": "content that all requests share changed",
        "request": REQUEST,
        "confidence": "exact",
        "suspects": (),
        "location": Location("/srv/app.py", 8, "chat", "HISTORY.append(text)"),
        "before": "list of 0 items",
        "after": "list of 1 item",
        "before_hash": "a" * 12,
        "after_hash": "b" * 12,
        "root": path,
        "fix": "make it per request",
        "time": 1000.5,
    }
    return Leak(**{**values, **changes})


def hostile() -> Leak:
    """Every text that an application or a client has a hand in is out to break something."""
    bad = RequestInfo(HOSTILE, "http", HOSTILE, HOSTILE, 1000.0)
    return leak(
        HOSTILE,
        request=bad,
        suspects=(bad,) * 1000,
        in_flight=(bad,) * 1000,
        location=Location(HOSTILE, 8, HOSTILE, HOSTILE, HOSTILE),
        reason=HOSTILE,
        before=HOSTILE,
        after="x" * 100_000_000,
        fix=HOSTILE,
    )
