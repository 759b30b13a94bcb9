"""Tasks on asyncio loops (uvloop included): a task factory that puts a request's tasks on its account.

Set on each loop at its first guarded request, around the factory that is there; eager tasks keep working.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from stateguard.attribution.driven import DrivenCoroutine
from stateguard.attribution.request import current

if TYPE_CHECKING:
    from collections.abc import Callable


class _Factory:
    """Makes tasks as the loop would have, their coroutines driven when a request starts them."""

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self.previous = previous
        self.active = True

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        if self.active:
            context = options.get("context")
            # Tasks run in a copy of the starter's context, unless they are given another one.
            request = current.get() if context is None else context.get(current)
            if request is not None and request.guard.watcher is not None:
                coro = DrivenCoroutine(coro, request)
        if self.previous is not None:
            return self.previous(loop, coro, **options)
        return asyncio.Task(coro, loop=loop, **options)


_loops: weakref.WeakKeyDictionary[Any, _Factory] = weakref.WeakKeyDictionary()


_newest: weakref.ref[Any] | None = None


def followed() -> bool:
    """Whether the running asyncio loop is the one that was followed last: the quick way to know."""
    loop = asyncio._get_running_loop()
    return loop is not None and _newest is not None and _newest() is loop


def follow_tasks() -> bool:
    """Follow the tasks of the running asyncio loop; ``False`` where there is none."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return False
    global _newest
    known = _loops.get(loop)
    if known is None or not known.active:
        factory = _Factory(loop.get_task_factory())
        loop.set_task_factory(factory)
        _loops[loop] = factory
    _newest = weakref.ref(loop)
    return True


def unfollow_tasks() -> None:
    """Give every loop back the factory it had; one that was set on top of ours keeps working."""
    global _newest
    _newest = None
    for loop, factory in list(_loops.items()):
        factory.active = False
        if not loop.is_closed() and loop.get_task_factory() is factory:
            loop.set_task_factory(factory.previous)
        del _loops[loop]
