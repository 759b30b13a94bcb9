"""Pieces of application code that work for no request, on threads where each piece is seen.

The thread of an event loop and the workers of a pool run application code only as what they are given: tasks,
callbacks, functions. While a guard is on, these pass through the guard on their way in, so it is known of
such a thread whether it can have run any between two looks. Of other threads it is not.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from functools import partial
from itertools import count
from threading import main_thread
from types import BuiltinMethodType, CodeType, CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from stateguard.attribution.server_threads import serves
from stateguard.parallel import PARALLEL
from stateguard.short import Drive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

_COROUTINE = 0x80 | 0x100
"""Flags of code whose call runs nothing yet."""

_FRAMEWORKS = frozenset(
    (
        "anyio",
        "asyncio",
        "daphne",
        "fastapi",
        "granian",
        "hypercorn",
        "starlette",
        "stateguard",
        "trio",
        "uvicorn",
    )
)
"""Packages whose tasks serve requests: outside of these they run no code of the application."""

DEPTH = 60
"""Frames of a stack, or links of a chain of awaits, that are searched for watched code."""

HARMLESS = 256
"""Coroutine functions of frameworks, and methods, that are known to run nothing of the application."""

_numbers = count(1)
latest: dict[int, int] = {}
"""The number of the latest beginning or end of a piece on each thread."""

_under_way: dict[int, int] = {}
_answers: dict[str, bool] = {}
_harmless: dict[int, CodeType] = {}
_silent: dict[int, Any] = {}
_imported = 0
_watching: list[Callable[[object], bool]] = []
_loops: dict[int, Callable[[Callable[[object], bool]], bool]] = {}
_boundaries: set[CodeType] = set()


def begin() -> None:
    """A piece begins on this thread."""
    thread = get_ident()
    if len(latest) > 1024:
        latest.clear()  # whoever remembers a number finds another one
    latest[thread] = next(_numbers)
    _under_way[thread] = _under_way.get(thread, 0) + 1


def end() -> None:
    """The piece that began last on this thread has ended."""
    thread = get_ident()
    left = _under_way.get(thread, 0) - 1
    if left > 0:
        _under_way[thread] = left
    else:
        _under_way.pop(thread, None)
    latest[thread] = next(_numbers)  # it may have been under way at the look before


# -- what is application code ----------------------------------------------------------------------


def watch(watched: Callable[[object], bool]) -> None:
    """A guard looks at modules of the names for which ``watched`` is true."""
    if watched not in _watching:
        _watching.append(watched)
    _forget()


def _forget() -> None:
    """Answers are anew from here on. In new tables: another thread may be about to add an old answer."""
    global _answers, _harmless, _silent
    _answers, _harmless, _silent = {}, {}, {}


def unwatch(watched: Callable[[object], bool]) -> None:
    """It has stopped."""
    if watched in _watching:
        _watching.remove(watched)
    _forget()


def is_watched(module: object) -> bool:
    """Whether any guard watches the module of that name."""
    global _imported
    if len(sys.modules) != _imported:  # what has come since may be watched
        _imported = len(sys.modules)
        _forget()
    if type(module) is not str:
        return False
    answers = _answers
    found = answers.get(module)
    if found is None:
        found = answers[module] = any(watched(module) for watched in _watching)
    return found


def is_silent(function: Any) -> bool:
    """Whether it is known already that calling ``function`` runs nothing of the application."""
    return _silent.get(id(function)) is function


def may_write(function: Any) -> bool:
    """Whether calling ``function`` may change watched state: watched code, or a method of a container."""
    while type(function) is partial:
        function = function.func
    if type(function) is MethodType:
        function = function.__func__
        if is_silent(function):
            return False
        if type(function) is FunctionType and not is_watched(function.__globals__.get("__name__")):
            if len(_silent) < HARMLESS:
                _silent[id(function)] = function
            return False
    if type(function) is FunctionType:
        # A coroutine function is passed by mistake; asyncio says so if it is left as it is.
        return not function.__code__.co_flags & _COROUTINE and is_watched(
            function.__globals__.get("__name__")
        )
    if type(function) is BuiltinMethodType:
        return isinstance(function.__self__, (list, dict, set, bytearray)) or (
            type(function.__self__).__module__ == "collections"
        )
    return False


def may_run_watched(coroutine: Any) -> bool:
    """Whether a task that works for no request may run watched code: any but those of servers and frameworks.

    What such a task passes on to watched code is looked for in it.
    """
    harmless = _harmless
    if type(coroutine) is CoroutineType and len(sys.modules) == _imported:
        code = coroutine.cr_code
        if harmless.get(id(code)) is code:
            return False
    frame = frame_of(coroutine)
    if frame is None:
        return False
    module = frame.f_globals.get("__name__")
    if type(module) is not str or module.partition(".")[0] not in _FRAMEWORKS or is_watched(module):
        return True
    code = frame.f_code
    names = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
    if "func" not in names and "coro" not in names:
        if len(harmless) < HARMLESS:
            harmless[id(code)] = code
        return False
    given = frame.f_locals
    return may_write(given.get("func")) or _is_watched_coroutine(given.get("coro"))


def frame_of(coroutine: Any) -> FrameType | None:
    """Its frame. What a middleware has given out is not asked: it would take the long way, to have one."""
    return None if type(coroutine) is Drive else getattr(coroutine, "cr_frame", None)


def _is_watched_coroutine(coroutine: Any) -> bool:
    frame = frame_of(coroutine)
    return frame is not None and is_watched(frame.f_globals.get("__name__"))


def boundary(code: CodeType) -> None:
    """What is awaited from this code is guarded by itself."""
    _boundaries.add(code)


def awaits_watched(coroutine: Any, watched: Callable[[object], bool]) -> bool:
    """Whether a suspended coroutine has watched code in it that no request is accountable for."""
    depth = 0
    while coroutine is not None and depth < DEPTH and not (type(coroutine) is Drive and coroutine.guarded):
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                break
        else:
            return False
        if frame.f_code in _boundaries:
            return False
        if watched(frame.f_globals.get("__name__")):
            return True
        below = "cr_await" if kind == "cr" else "gi_yieldfrom" if kind == "gi" else "ag_await"
        coroutine, depth = getattr(coroutine, below, None), depth + 1
    return False


# -- what is known of a thread ---------------------------------------------------------------------


def oversee(thread: int, suspended: Callable[[Callable[[object], bool]], bool] | None) -> None:
    """The event loop on ``thread`` hands everything through here from now on; ``None``: no more.

    ``suspended(watched)`` tells whether tasks that began before have watched code in them.
    """
    if suspended is None:
        _loops.pop(thread, None)
    else:
        _loops[thread] = suspended


def idle(
    thread: int,
    details: Any,
    frame: FrameType | None,
    before: int,
    watched: Callable[[object], bool],
) -> bool:
    """Whether a thread is known to have run no application code since it was at ``before``.

    ``details`` is the ``threading.Thread``, ``frame`` what it executes now.
    """
    if latest.get(thread, 0) != before or thread in _under_way:
        return False
    suspended = _loops.get(thread)
    if suspended is not None:
        return not suspended(watched)
    # The main thread of a server that works elsewhere: it waits, and accepts connections.
    if details is not main_thread() and not serves(details):
        return False
    return not in_watched_code(frame, watched)


def in_watched_code(frame: FrameType | None, watched: Callable[[object], bool]) -> bool:
    """Whether watched code is on the stack above ``frame``, or may be: no frame where it must not be looked
    at."""
    if frame is None and PARALLEL:
        return True
    return any(map(watched, _modules(frame)))


def _modules(frame: FrameType | None) -> Iterable[object]:
    depth = 0
    while frame is not None and depth < DEPTH:
        yield frame.f_globals.get("__name__")
        frame, depth = frame.f_back, depth + 1
