"""Choose the line tracer that this interpreter has, and say why there is none if there is none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.attribution.lines import LineTracer


def choose_tracer() -> tuple[LineTracer | None, str]:
    """The tracer to use on this interpreter, and why there is none if there is none."""
    if hasattr(sys, "monitoring"):
        from stateguard.attribution.monitoring import tracer as monitoring

        reason = monitoring.unavailable()
        return (monitoring, "") if reason is None else (None, reason)
    from stateguard.attribution.settrace import tracer as settrace

    reason = settrace.unavailable()
    return (settrace, "") if reason is None else (None, reason)
