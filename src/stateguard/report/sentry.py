"""Leaks as Sentry events, one issue per distinct leak. Needs the extra ``sentry``.

``sentry_sdk.init`` is the application's own business: without it, nothing is sent. Events hold what a leak
holds and nothing of the application's scope: no request body, no local variables, no breadcrumbs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger

from stateguard.leak import at_least
from stateguard.report.record import clip
from stateguard.report.text import clean

if TYPE_CHECKING:
    from stateguard.leak import Frame, Leak, Location, Severity

_LEVELS = {"critical": "fatal", "high": "error", "low": "warning", "note": "info"}
KNOWN = 10_000
"""Distinct leaks that are remembered."""


class Sentry:
    """A sink that sends leaks of ``threshold`` and worse.

    The first occurrence is sent, the 10th, the 100th and so on, and one more when its line is found later.
    """

    def __init__(self, threshold: Severity = "high") -> None:
        self._threshold = threshold
        self._lock = threading.Lock()
        self._next: dict[str, int] = {}
        self._located: set[str] = set()
        # Sentry makes events of log messages of its own accord: the same leaks, grouped by their texts.
        ignore_logger("stateguard")

    def leak(self, leak: Leak, seen: int) -> None:
        """Send it, unless it is mild or has been sent often enough."""
        if not at_least(leak.severity, self._threshold) or not self._is_news(leak, seen):
            return
        client = sentry_sdk.get_client()
        if client.is_active():
            client.capture_event(_event(leak, seen), scope=sentry_sdk.Scope())

    def _is_news(self, leak: Leak, seen: int) -> bool:
        key = leak.id
        with self._lock:
            if len(self._next) > KNOWN:
                self._next.clear()
                self._located.clear()
            line_is_news = leak.location is not None and key not in self._located
            if leak.location is not None:
                self._located.add(key)
            if seen < self._next.get(key, 1) and not line_is_news:
                return False
            self._next[key] = 10 ** len(str(seen))
        return True

    def close(self) -> None:
        """The SDK sends what is left when the process ends."""


def _event(leak: Leak, seen: int) -> dict[str, Any]:
    texts = {
        name: clean(clip(getattr(leak, name), 1000)) for name in ("path", "reason", "before", "after", "fix")
    }
    request = leak.request
    return {
        "logger": "stateguard",
        "level": _LEVELS[leak.severity],
        "message": clean(f"shared state {leak.kind}: {clip(leak.root or leak.path, 200)}"),
        "fingerprint": ["stateguard", leak.id],
        "tags": {
            "stateguard.leak": leak.id,
            "stateguard.severity": leak.severity,
            "stateguard.confidence": leak.confidence,
            **({} if request is None else {"stateguard.request": clean(clip(request.id, 200))}),
        },
        "contexts": {
            "leak": {
                **texts,
                "seen": seen,
                "suspects": leak.suspect_count,
                "suspects_exact": leak.suspect_count_exact,
                "in_flight": leak.in_flight_count,
                "request": "" if request is None else clean(clip(str(request), 1000)),
                "location": "" if leak.location is None else clean(clip(str(leak.location), 1000)),
            }
        },
        # Present even when empty: otherwise the SDK may add this thread's stack, with its local variables.
        "threads": {"values": _threads(leak.location)},
    }


def _threads(location: Location | None) -> list[dict[str, Any]]:
    if location is None:
        return []
    frames = [_frame(frame) for frame in location.stack] or [_frame(location)]
    return [{"id": 0, "name": "request", "current": True, "stacktrace": {"frames": frames}}]


def _frame(frame: Frame | Location) -> dict[str, Any]:
    file = clean(clip(frame.file, 500))
    return {
        "filename": file,
        "abs_path": file,
        "function": clean(clip(frame.function, 200)),
        "lineno": frame.line,
        "context_line": clean(clip(frame.source, 500)),
        "in_app": True,
    }
