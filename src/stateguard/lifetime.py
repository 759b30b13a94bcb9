"""The guards of this process: what a fork, the last close and the end of the process mean to them."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

from stateguard.attribution import asyncio_tasks, greenlets
from stateguard.attribution.handover import unfollow_threads

if TYPE_CHECKING:
    from stateguard.guard import Guard

_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def guards() -> list[Guard]:
    """Those that are neither closed nor gone."""
    return list(_guards)


def begin(guard: Guard) -> None:
    """``guard`` has been made: it is told of forks, and says what it holds back when the process ends."""
    _guards.add(guard)


def end(guard: Guard) -> None:
    """``guard`` is closed. With the last one that watches, what they all have in common is given back."""
    _guards.discard(guard)
    if not any(one.watcher is not None for one in _guards):
        unfollow_threads()
        asyncio_tasks.unfollow_tasks()
        greenlets.unfollow_switches()


def _after_fork() -> None:
    for guard in guards():
        guard.after_fork()


@atexit.register
def _at_exit() -> None:
    for guard in guards():
        if guard.engine is not None:
            guard.engine.finder.disarm()  # a tracer outlives the modules that it would need
            guard.engine.say_everything()
            guard.engine.reporter.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
