"""Tell the guard's own failures from exceptions that are on their way through it to the application."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType


def signal_handlers() -> list[Any]:
    """What is set for each signal: a callable, a number, or ``None``. Empty where nobody has set anything."""
    signal = sys.modules.get("signal")  # not imported for this: whoever sets a handler has done so
    if signal is None:
        return []
    return [signal.getsignal(number) for number in signal.valid_signals()]


def raised_by_signal_handler(error: BaseException) -> bool:
    """Whether a signal handler has raised ``error``: a time limit that happened to end inside the guard."""
    raised_in: set[CodeType] = set()
    trace = error.__traceback__
    while trace is not None:
        raised_in.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    return any(
        getattr(handler, "__code__", None) in raised_in for handler in signal_handlers() if callable(handler)
    )
