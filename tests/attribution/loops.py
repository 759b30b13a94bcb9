"""The event loops to test with, each by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}

if find_spec("uvloop") is not None:  # it has no wheels for free-threaded Python 3.13, nor for Windows
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
