"""Tell the guard's own failures from exceptions that are on their way through it to the application."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType


def raised_by_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler has raised ``error``: a time limit that happened to end inside the guard."""
    raised_in: set[CodeType] = set()
    trace = error.__traceback__
    while trace is not None:
        raised_in.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    signal = sys.modules.get("signal")
    if signal is None:
        return False  # nobody has set a handler
    handlers = map(signal.getsignal, signal.valid_signals())
    return any(getattr(handler, "__code__", None) in raised_in for handler in handlers if callable(handler))
