"""Through which call a line has written: a library or a C function does it, and the line only calls.

Told from the bytecode of the line and its source: the same with every tracer, and nothing is run for it.
"""

from __future__ import annotations

import ast
import builtins
import dis
import linecache
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from stateguard.aside import allowed_to_block

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

NAME = 80
"""Characters of what is called that are shown."""

SOURCE = 2_000
"""Characters of a call's source beyond which its name is not looked for."""

CALLS = 3
"""Calls on one line that are named; of more, none is."""

_CALLS = frozenset(("CALL", "CALL_KW", "CALL_FUNCTION_EX"))

_STORES = frozenset(
    f"{verb}_{what}"
    for verb in ("STORE", "DELETE")
    for what in ("ATTR", "SUBSCR", "SLICE", "GLOBAL", "NAME", "DEREF")
)
"""Instructions with which a line writes by itself."""


def written_through(
    code: CodeType, line: int, after: int, names: dict[str, Any] | None, traces: Callable[[CodeType], bool]
) -> str | None:
    """What the line calls that must have done the writing; ``None`` if it writes by itself, or may have.

    ``after`` is the offset of the instruction from which on the line is in question. ``names`` are the
    globals of its module: functions of watched modules have lines of their own, and would have been seen.
    """
    called = []
    for expression in _called(code, line, after):
        text, function = expression, _look_up(expression, names)
        if type(function) is FunctionType:
            if traces(function.__code__):
                continue
            if "." not in text and type(function.__module__) is str:
                text = f"{text} of {function.__module__}"
        if text not in called:
            called.append(text)
    return " or ".join(called) if 0 < len(called) <= CALLS else None


@lru_cache(maxsize=512)
def _called(code: CodeType, line: int, after: int) -> tuple[str, ...]:
    """The source of what a line calls, in order; empty if it stores something, or if a call has no name."""
    found: list[str] = []
    here = code.co_firstlineno
    instructions = list(dis.get_instructions(code))
    # Within an instruction, up to 3.12: behind its opcode lies its cache.
    ends = [instruction.offset for instruction in instructions[1:]] + [len(code.co_code)]
    for instruction, end in zip(instructions, ends, strict=True):
        at = instruction.positions
        if at is not None and at.lineno is not None:
            here = at.lineno
        if here != line or end <= after:
            continue
        name = instruction.opname
        if name in _STORES or (name == "BINARY_OP" and instruction.argrepr.endswith("=")):
            return ()
        if name in _CALLS:
            text = _callee(code.co_filename, at)
            if text is None:
                return ()
            found.append(text)
    return tuple(found)


def _callee(file: str, at: dis.Positions | None) -> str | None:
    """What is called, as the source has it."""
    if at is None or at.lineno is None or at.end_lineno is None:
        return None
    if at.col_offset is None or at.end_col_offset is None:
        return None
    with allowed_to_block():
        lines = [text.encode() for text in linecache.getlines(file)[at.lineno - 1 : at.end_lineno]]
    if not lines:
        return None
    lines[-1] = lines[-1][: at.end_col_offset]  # columns count bytes
    lines[0] = lines[0][at.col_offset :]
    source = b"".join(lines).decode(errors="replace")
    if len(source) > SOURCE:
        return None
    try:
        call = ast.parse(f"({source}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the file is not what is running, or a `with` calls
    if not isinstance(call, ast.Call):
        return None
    text = ast.unparse(call.func)
    return text if len(text) <= NAME else None


def _look_up(text: str, names: dict[str, Any] | None) -> Any:
    """What a dotted name stands for, through modules only: nothing else can be asked without running code."""
    first, *rest = text.split(".")
    found = None
    if type(names) is dict:
        found = names.get(first)
    if found is None:
        found = vars(builtins).get(first)
    for name in rest:
        if type(found) is not ModuleType:
            return None
        found = vars(found).get(name)
    return found
