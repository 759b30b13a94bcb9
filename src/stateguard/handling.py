"""What a request costs beside looking at state: measured, because the budget is for both."""

from __future__ import annotations

from time import perf_counter_ns

from stateguard.scope import open_scope
from stateguard.short import COMPILED

SCOPES = 5 if COMPILED else 9
"""What is done for a request that is let pass takes so many times what a scope that is opened in Python does
when nothing else runs: 6 or 11 microseconds, and 1.2, where this was measured, the former in a Starlette
application."""


def handling() -> int:
    """Nanoseconds per request, about. Takes a tenth of a millisecond to find out."""
    best = 0
    for _ in range(5):
        started = perf_counter_ns()
        for _ in range(10):
            scope = open_scope()
            scope.leave(scope.enter())
            scope.close()
        took = perf_counter_ns() - started
        best = min(best, took) if best else took
    return SCOPES * best // 10
