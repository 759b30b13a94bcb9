"""Lines through ``sys.monitoring``: Python 3.12 and later. Events only for watched code, only while armed."""

from __future__ import annotations

import sys
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from stateguard.attribution.lines import LineListener

_monitoring: Any = getattr(sys, "monitoring", None)

_TOOLS = (4, 3, 5, 2)
"""Tool ids to try: those that PEP 669 gives no meaning first."""


class MonitoringTracer:
    """Takes a free tool id while somebody listens, and gives it back."""

    name = "sys.monitoring"
    everywhere = True

    def __init__(self) -> None:
        self._listeners: tuple[LineListener, ...] = ()
        self._tool: int | None = None
        self._codes: set[CodeType] = set()
        self._lock = RLock()

    def unavailable(self) -> str | None:
        """Other tools are no obstacle, unless they hold every id."""
        monitoring = _monitoring
        if self._tool is not None or any(monitoring.get_tool(tool) is None for tool in _TOOLS):
            return None
        holders = ", ".join(str(monitoring.get_tool(tool)) for tool in range(6))
        return f"every sys.monitoring tool id is taken ({holders}): lines cannot be found while they run"

    def add(self, listener: LineListener) -> None:
        """Report to ``listener`` from now on."""
        with self._lock:
            if any(listener is known for known in self._listeners):
                return
            self._listeners = (*self._listeners, listener)
            if self._tool is None:
                self._start()
            else:
                _monitoring.restart_events()  # code that nobody wanted until now may be wanted

    def remove(self, listener: LineListener) -> None:
        """Report to ``listener`` no more."""
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known is not listener)
            if not self._listeners and self._tool is not None:
                self._stop()

    def enter(self) -> None:
        """Events reach all threads; nothing to do per stretch."""

    def leave(self) -> None:
        """Likewise."""

    def follow(self, frame: FrameType) -> bool:
        """Events of its code, from its next line on."""
        return self._wanted(frame.f_code)

    def _start(self) -> None:
        monitoring = _monitoring
        events = monitoring.events
        for tool in _TOOLS:
            if monitoring.get_tool(tool) is None:
                try:
                    monitoring.use_tool_id(tool, "stateguard")
                except ValueError:  # somebody else was faster
                    continue
                self._tool = tool
                break
        else:
            self._listeners = ()
            return
        register = monitoring.register_callback
        register(self._tool, events.PY_START, self._begun)
        register(self._tool, events.PY_RESUME, self._begun)
        register(self._tool, events.PY_THROW, self._thrown)
        register(self._tool, events.LINE, self._line)
        register(self._tool, events.PY_RETURN, self._left)
        register(self._tool, events.PY_YIELD, self._left)
        register(self._tool, events.PY_UNWIND, self._unwound)
        monitoring.set_events(
            self._tool, events.PY_START | events.PY_RESUME | events.PY_THROW | events.PY_UNWIND
        )
        monitoring.restart_events()

    def _stop(self) -> None:
        monitoring = _monitoring
        tool, self._tool = self._tool, None
        if tool is None:
            return
        monitoring.set_events(tool, 0)
        for code in self._codes:
            monitoring.set_local_events(tool, code, 0)
        self._codes.clear()
        for event in ("PY_START", "PY_RESUME", "PY_THROW", "LINE", "PY_RETURN", "PY_YIELD", "PY_UNWIND"):
            monitoring.register_callback(tool, getattr(monitoring.events, event), None)
        monitoring.free_tool_id(tool)

    def _wanted(self, code: CodeType) -> bool:
        if code in self._codes:
            return True
        if not any(listener.traces(code) for listener in self._listeners):
            return False
        events = _monitoring.events
        with self._lock:
            if self._tool is None:
                return False
            self._codes.add(code)
            _monitoring.set_local_events(self._tool, code, events.LINE | events.PY_RETURN | events.PY_YIELD)
        return True

    def _begun(self, code: CodeType, offset: int) -> Any:
        if not self._wanted(code):
            return _monitoring.DISABLE if self._tool is not None else None
        frame = sys._getframe(1)
        for listener in self._listeners:
            listener.line_event(frame, frame.f_lineno)
        return None

    def _thrown(self, code: CodeType, offset: int, error: BaseException) -> None:
        if self._wanted(code):
            frame = sys._getframe(1)
            for listener in self._listeners:
                listener.line_event(frame, frame.f_lineno)

    def _line(self, code: CodeType, line: int) -> None:
        frame = sys._getframe(1)
        for listener in self._listeners:
            listener.line_event(frame, line)

    def _left(self, code: CodeType, offset: int, value: object) -> None:
        frame = sys._getframe(1)
        for listener in self._listeners:
            listener.line_event(frame, None)

    def _unwound(self, code: CodeType, offset: int, error: BaseException) -> None:
        if code in self._codes:
            frame = sys._getframe(1)
            for listener in self._listeners:
                listener.line_event(frame, None)


tracer = MonitoringTracer()
