"""Lines through ``sys.settrace``: Python 3.11. Set per thread, for the length of a stretch only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

    from stateguard.attribution.lines import LineListener


class SettraceTracer:
    """Traces watched code on threads that are inside a stretch; gives way to any other tracer."""

    name = "sys.settrace"
    everywhere = False

    def __init__(self) -> None:
        self._listeners: tuple[LineListener, ...] = ()

    def unavailable(self) -> str | None:
        """A debugger or coverage measurement that has the trace function keeps it."""
        other = sys.gettrace()
        holder = getattr(other, "__self__", None)
        if other is None or holder is self or getattr(holder, "shares_trace", False):
            return None
        kind = type(other)
        name = getattr(other, "__qualname__", kind.__qualname__)
        return (
            f"sys.settrace is taken by {kind.__module__}.{name} (a debugger or coverage): lines cannot be "
            "found while it runs; on Python 3.12 and later they can"
        )

    def add(self, listener: LineListener) -> None:
        """Report to ``listener``, from the next stretch of each thread on."""
        if all(listener is not known for known in self._listeners):
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: LineListener) -> None:
        """Report to ``listener`` no more."""
        self._listeners = tuple(known for known in self._listeners if known is not listener)
        if not self._listeners:
            self.leave()

    def enter(self) -> None:
        """Trace this thread, unless somebody else does."""
        if self._listeners and sys.gettrace() is None:
            sys.settrace(self._call)

    def leave(self) -> None:
        """Trace this thread no more, unless another guard has a stretch under way here."""
        if self._mine(sys.gettrace()) and not any(listener.here() for listener in self._listeners):
            sys.settrace(None)

    def follow(self, frame: FrameType) -> bool:
        """Only a frame that has been traced from its beginning is."""
        return frame.f_trace is not None

    def relay(self, frame: FrameType, event: str) -> bool:
        """For a tracer of stateguard's own that has this thread's trace function and shares what it sees.

        ``True`` if somebody listens to this code.
        """
        wanted = False
        for listener in self._listeners:
            if listener.traces(frame.f_code):
                wanted = True
                listener.line_event(frame, None if event == "return" else frame.f_lineno)
        return wanted

    def _mine(self, function: Any) -> bool:
        return getattr(function, "__self__", None) is self

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not self._listeners:
            return self._withdraw(frame)
        wanted = False
        for listener in self._listeners:
            if listener.traces(frame.f_code):
                wanted = True
                # A call, or a coroutine going on: its current line is in flight from here.
                listener.line_event(frame, frame.f_lineno)
        return self._line if wanted else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not self._listeners:
            return self._withdraw(frame)
        if event == "line":
            for listener in self._listeners:
                listener.line_event(frame, frame.f_lineno)
        elif event == "return":
            for listener in self._listeners:
                listener.line_event(frame, None)
        return self._line

    def _withdraw(self, frame: FrameType) -> None:
        """The last listener has gone while this thread was inside a stretch: leave nothing behind here."""
        self.leave()
        above: FrameType | None = frame
        while above is not None:
            if self._mine(above.f_trace):
                above.f_trace = None
            above = above.f_back


tracer = SettraceTracer()
