"""Short blocking calls of the guard's own, on an event loop's thread.

Tools that forbid blocking calls on an event loop (blockbuster, for one) do so by asking whether a loop is
running on this thread. The guard asks for the working directory, resolves a module's file and reads a line
of source there, once each: a service that forbids such calls to its own code must still be watched, and its
tests must not fail for it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def allowed_to_block() -> Iterator[None]:
    """No event loop is seen to run on this thread meanwhile. Nothing of the application may run inside."""
    # Only what is loaded: where asyncio is not, no loop of it can be running.
    events = sys.modules.get("asyncio.events")
    hide = getattr(events, "_set_running_loop", None)
    loop = events._get_running_loop() if events is not None and hide is not None else None
    if hide is None or loop is None:
        yield
        return
    hide(None)
    try:
        yield
    finally:
        hide(loop)
