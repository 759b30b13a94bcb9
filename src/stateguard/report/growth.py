"""What metrics need of leaks: by how much a count has grown, and labels of bounded number and length."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from stateguard.report.record import clip
from stateguard.report.text import clean

if TYPE_CHECKING:
    from stateguard.leak import Leak

SERIES = 200
"""Distinct leaks of one process that get time series of their own; all others share the label ``other``."""

LABEL = 200
"""Characters of a label."""


class Growth:
    """Turns ``seen``, which grows by jumps, into increments. Safe to call from several threads."""

    def __init__(self, series: int = SERIES) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._others: dict[str, int] = {}
        self._series = series

    def of(self, leak: Leak, seen: int) -> tuple[int, dict[str, str]]:
        """By how much ``leak`` has grown since last asked, and its labels: safe for any back end."""
        with self._lock:
            known = self._seen
            named = leak.id in known or len(known) < self._series
            if not named:
                known = self._others
                if len(known) >= 10 * self._series and leak.id not in known:
                    known.clear()  # names made up per request; nobody can tell them apart in a metric
            before = known.get(leak.id, 0)
            known[leak.id] = seen
        grown = seen - before if seen >= before else seen  # it was forgotten in between, and counted anew
        return grown, {
            "leak": leak.id if named else "other",
            "root": label(leak.root or leak.path) if named else "other",
            "kind": label(leak.kind),
            "severity": leak.severity,
            "confidence": leak.confidence,
        }


def label(text: str) -> str:
    """A text as a label: printable, encodable, bounded."""
    return clip(clean(text[: 4 * LABEL]), LABEL)
