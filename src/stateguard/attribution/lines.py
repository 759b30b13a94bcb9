"""Which line is in flight on each thread: the protocol of line tracers, and who may use one.

A tracer reports every line that watched code begins and every return from it, on threads that work for a
request. The guard looks at armed state at each report, so a difference was made by a line that was *in
flight*: begun, and not yet followed by another. Lines whose bytecode cannot write are ruled out.
"""

from __future__ import annotations

import dis
import linecache
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from stateguard.aside import allowed_to_block
from stateguard.attribution.through import written_through
from stateguard.leak import Frame, Location

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Protocol

    class LineListener(Protocol):
        """What a tracer reports to: one guard."""

        def traces(self, code: CodeType) -> bool:
            """Whether the guard wants to hear of this code."""
            ...

        def here(self) -> bool:
            """Whether a stretch of the guard's is under way on this thread."""
            ...

        def line_event(self, frame: FrameType, line: int | None) -> None:
            """``frame`` begins ``line``, or is about to leave (``None``)."""
            ...

    class LineTracer(Protocol):
        """One way of hearing of lines. Listeners come and go; with the last one gone, no trace is left."""

        name: str
        everywhere: bool
        """Whether it reports watched code on all threads, not only inside stretches."""

        def unavailable(self) -> str | None:
            """Why this tracer cannot be used now, in words; ``None`` if it can."""
            ...

        def add(self, listener: LineListener) -> None:
            """Report to ``listener`` from now on."""
            ...

        def remove(self, listener: LineListener) -> None:
            """Report to ``listener`` no more."""
            ...

        def enter(self) -> None:
            """A stretch begins on this thread."""
            ...

        def leave(self) -> None:
            """The stretch on this thread ends."""
            ...

        def follow(self, frame: FrameType) -> bool:
            """Whether the lines of a frame are reported that may have begun before anybody listened."""
            ...


class Position(NamedTuple):
    """A line in flight. ``after``: it has been at this offset, in a call that has called watched code."""

    code: CodeType
    line: int
    after: int = 0


_HARMLESS = frozenset(
    name
    for name in dis.opmap
    if name.startswith(
        ("LOAD_FAST", "LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLOSURE", "STORE_FAST", "JUMP")
    )
    or name.startswith(("POP_JUMP", "RETURN_CONST", "LOAD_SMALL"))
) | {
    "CACHE",
    "COPY",
    "COPY_FREE_VARS",
    "EXTENDED_ARG",
    "MAKE_CELL",
    "NOP",
    "NOT_TAKEN",
    "POP_TOP",
    "PUSH_NULL",
    "RESUME",
    "SWAP",
    "IS_OP",
    "RETURN_VALUE",
    "PRECALL",
}
"""Instructions that run no code of anybody and change nothing but local variables. ``POP_TOP`` and the like
may drop the last reference to an object with a finalizer: see :func:`may_write`."""

CALLS = 12
"""Calls on the stack that a location keeps, the innermost ones."""

_lines: dict[CodeType, frozenset[int]] = {}


def may_write(position: Position | None) -> bool:
    """Whether a line in flight can change shared state: not if all it does is move local variables.

    A finalizer that such a line sets off is the one thing overlooked here; it runs at arbitrary points
    anyway, and what it does is then blamed on no line rather than on a wrong one.
    """
    if position is None:
        return True
    known = _lines.get(position.code)
    if known is None:
        writing = set()
        line = position.code.co_firstlineno
        for instruction in dis.get_instructions(position.code):
            if instruction.positions is not None and instruction.positions.lineno is not None:
                line = instruction.positions.lineno
            if instruction.opname not in _HARMLESS:
                writing.add(line)
        if len(_lines) > 4096:
            _lines.clear()
        known = _lines[position.code] = frozenset(writing)
    return position.line in known


def frames(frame: FrameType | None, traces: Callable[[CodeType], bool]) -> list[FrameType]:
    """The watched part of a stack, innermost first."""
    found = []
    depth = 0
    while frame is not None and depth < 200:
        if traces(frame.f_code):
            found.append(frame)
        frame, depth = frame.f_back, depth + 1
    return found


def caller(frame: FrameType | None, traces: Callable[[CodeType], bool]) -> FrameType | None:
    """The nearest watched frame from ``frame`` upwards: its line is in flight again once the one below has
    returned.
    """
    depth = 0
    while frame is not None and depth < 200:
        if traces(frame.f_code):
            return frame
        frame, depth = frame.f_back, depth + 1
    return None


def describe(position: Position, stack: list[FrameType], traces: Callable[[CodeType], bool]) -> Location:
    """A position as a location, with the application's part of the stack (outermost first)."""
    code, line, after = position
    own = _frame(code, line)
    calls, names = [own], None
    for i, found in enumerate(stack):
        if found.f_code is code:
            names = found.f_globals
            calls += [_frame(outer.f_code, outer.f_lineno) for outer in stack[i + 1 : i + CALLS]]
            break
    calls.reverse()
    via = written_through(code, line, after, names, traces)
    return Location(own.file, own.line, own.function, own.source, via, tuple(calls))


def _frame(code: CodeType, line: int) -> Frame:
    with allowed_to_block():
        source = linecache.getline(code.co_filename, line).strip()
    return Frame(code.co_filename, line, getattr(code, "co_qualname", code.co_name), source)


def watched_files(modules: dict[str, Any]) -> frozenset[str]:
    """The file names that the code of these modules carries."""
    files = set()
    for members in modules.values():
        file = members.get("__file__")
        if type(file) is str:
            files.add(file)
        name = members.get("__name__")
        for value in list(members.values()):
            if type(value) is not FunctionType or type(value.__module__) is not str or type(name) is not str:
                continue  # anything may be put there, with an __eq__ of its own
            if value.__module__ == name:
                files.add(value.__code__.co_filename)
    return frozenset(files - {"<string>", "<stdin>"})  # what anybody's code goes by that has no file
