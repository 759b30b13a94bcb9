"""Variants of one application in one server process, of which one serves at a time.

Two processes of the same program differ in speed by a fifth here, which is more than a guard costs: where
memory lies decides it. So variants that are compared share a process and take turns. ``GET /turn/NAME`` makes
a variant the one that serves; every other request goes to that one.

What a guard leaves in the process is in its own turn only: each variant finds the event loop as it left it,
and its guard's pace as if no time had passed. Else one that is always busy would take the others' turns for
rests.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from time import perf_counter_ns, process_time_ns
from typing import Any

from benchmarks.request_app import flask_app, guard_of, starlette_app
from stateguard import Guard
from stateguard.pace import Pace
from stateguard.waiting import waited

PATH = "/turn/"
HOOKS = ("call_soon", "call_soon_threadsafe", "call_later", "call_at")
"""The methods of a loop that a guard may replace."""

Hooks = tuple[Any, dict[str, Any]]
"""A loop's task factory, and those of its methods that are replaced."""


class Turns:
    """Holds the variants, and makes them take turns."""

    def __init__(self, variants: list[str], make: Any) -> None:
        guards = {variant: guard_of(variant) for variant in variants}
        for guard in guards.values():
            if guard is not None and guard.engine is not None:
                guard.start()  # whatever it takes: that is measured elsewhere
        gc.collect()
        gc.freeze()  # or the collector's passes through what never changes are all there is to be seen
        self._paces = {
            variant: guard.engine.pace
            for variant, guard in guards.items()
            if guard is not None and guard.engine is not None
        }
        self._stopped: dict[str, tuple[int, int, int]] = {}
        self._apps = {variant: make(variant, guard) for variant, guard in guards.items()}
        self._arming = threading.Event()
        self._armed = guards.get("armed")
        if self._armed is not None:
            threading.Thread(target=keep_armed, args=(self._armed, self._arming), daemon=True).start()
        self.turn = variants[0]
        self.app = self._apps[self.turn]

    def take(self, variant: str) -> None:
        """It is this variant's turn."""
        if self._armed is not None and variant != "armed":
            self._arming.clear()
            time.sleep(0.05)  # let the thread that arms come to rest
            assert self._armed.finder is not None
            self._armed.finder.disarm()
        elif variant == "armed":
            self._arming.set()
        self._stopped[self.turn] = clocks()
        self.turn = variant
        self.app = self._apps[variant]
        if variant in self._paces and variant in self._stopped:
            go_on(self._paces[variant], self._stopped[variant])


class ASGITurns(Turns):
    """For ASGI servers."""

    def __init__(self, variants: list[str]) -> None:
        super().__init__(variants, starlette_app)
        self._first: Hooks | None = None
        self._loops: dict[str, Hooks] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or take turns."""
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self.app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        self._first = self._first or _hooks(loop)
        self._loops[self.turn] = _hooks(loop)
        self.take(scope["path"].removeprefix(PATH))
        factory, methods = self._loops.get(self.turn, self._first)
        loop.set_task_factory(factory)
        for name in HOOKS:
            vars(loop).pop(name, None)
        vars(loop).update(methods)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def clocks() -> tuple[int, int, int]:
    """What a guard's pace goes by: nanoseconds on the wall, of this process, and waiting for a processor."""
    return perf_counter_ns(), process_time_ns(), waited()


def go_on(pace: Pace, stopped: tuple[int, int, int]) -> None:
    """As if no time had passed since its clocks ``stopped``."""
    wall, used, waiting = (now - then for now, then in zip(clocks(), stopped, strict=True))
    for field in ("_since", "_changed", "next_weighing", "next_look", "_next_deep", "_next_slice"):
        setattr(pace, field, getattr(pace, field) + wall)
    pace._used += used
    pace._waited += waiting


def _hooks(loop: asyncio.AbstractEventLoop) -> Hooks:
    return loop.get_task_factory(), {name: vars(loop)[name] for name in HOOKS if name in vars(loop)}


class WSGITurns(Turns):
    """For WSGI servers."""

    def __init__(self, variants: list[str]) -> None:
        super().__init__(variants, flask_app)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Serve one request, or take turns."""
        if not environ["PATH_INFO"].startswith(PATH):
            return self.app(environ, start_response)
        self.take(environ["PATH_INFO"].removeprefix(PATH))
        start_response("204 No Content", [])
        return []


def keep_armed(guard: Guard, arming: threading.Event) -> None:
    """Arm the line tracer again whenever its budget is spent, for a change that is never met."""
    while arming.wait():
        if guard.finder is not None and not guard.finder.armed:
            guard.finder.want(f"nothing-{time.monotonic()}")
        time.sleep(0.01)


def wsgi_turns(variants: str) -> WSGITurns:
    """For servers that take an application by name."""
    return WSGITurns(variants.split(","))
