"""Whether several threads may run Python code at the same instant: on free-threaded builds of CPython.

Much of what the guard knows of other threads it knows because they stand still while it looks: whoever has
the interpreter lock has it alone. Where there is none, each such thing is left out, or done in another way,
and what can then not be proven is called a suspicion. What is chosen by this is chosen when a module is
imported: nothing of it costs anything where there is a lock.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PARALLEL: bool = "free-threading build" in sys.version
"""Of the build, not of the moment: an extension may bring the lock back while the program runs, or not."""


def _idents() -> dict[int, Any]:
    # A thread that goes on leaves its frames while they are looked at, and what is read then is memory that
    # something else has been written into.
    return dict.fromkeys(sys._current_frames())


stacks: Callable[[], dict[int, Any]] = _idents if PARALLEL else sys._current_frames
"""The innermost frame of each thread, by its identity; ``None`` where it must not be looked at: then which
threads there are is all that can be told, and what they execute is to be taken for the worst."""
