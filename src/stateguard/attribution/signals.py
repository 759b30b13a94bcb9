"""Signal handlers of the application: they run in the middle of anybody's stretch on the main thread.

Nothing tells that one has run. What can be told is which names it can reach: a change of something that goes
by one of these names may have been the handler's doing.
"""

from __future__ import annotations

import re
import threading
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from stateguard.interrupted import signal_handlers

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCTIONS = 50
"""Functions that are followed from a handler by the global names it mentions."""

_WORD = r"[^\W\d]\w*"


def may_have_written(path: str, watched: Callable[[object], bool]) -> bool:
    """Whether a handler that is watched code, and is set now, mentions the last names of ``path``."""
    handlers = [function for function in map(_function, signal_handlers()) if function is not None]
    mentioned: set[str] = set()
    for handler in handlers:
        if watched(handler.__globals__.get("__name__")):
            mentioned |= _mentions(handler)
    # The module's own name is nothing that its code mentions.
    return not mentioned.isdisjoint(re.findall(_WORD, path))


def _function(handler: Any) -> FunctionType | None:
    while type(handler) is partial:
        handler = handler.func
    if type(handler) is MethodType:
        handler = handler.__func__
    return handler if type(handler) is FunctionType else None


def _mentions(handler: FunctionType) -> set[str]:
    """The names in a function, and in those functions of its module that it mentions."""
    found: set[str] = set()
    todo, done = [handler], {handler}
    while todo and len(done) < FUNCTIONS:
        function = todo.pop()
        names = _names(function.__code__)
        found |= names
        for name in names:
            other = function.__globals__.get(name)
            if type(other) is FunctionType and other not in done:
                done.add(other)
                todo.append(other)
    return found


def _names(code: CodeType) -> set[str]:
    found = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if type(constant) is CodeType:
            found |= _names(constant)
    return found


def on_main_thread(thread: int) -> bool:
    """Whether handlers run on this thread."""
    return thread == threading.main_thread().ident
