"""Tasks on trio: an instrument is told of every task step, so child tasks need no wrapping at all."""

from __future__ import annotations

import sys
import weakref
from _thread import get_ident
from typing import TYPE_CHECKING, Any

from stateguard.attribution import pieces
from stateguard.attribution.driven import begin, end
from stateguard.attribution.request import GuardedRequest, current

if TYPE_CHECKING:
    from collections.abc import Callable


class _Steps:
    """Puts each step of a task that works for a request on that request's account."""

    def __init__(self, root: Any) -> None:
        self._root = weakref.ref(root)
        self._running: list[GuardedRequest] | None = None

    def before_task_step(self, task: Any) -> None:
        request = task.context.get(current)
        if request is None:
            if pieces.may_run_watched(task.coro):
                self._running = []
                begin(self._running)
        # The task that called the middleware is driven by it.
        elif request.task is not task and request.guard.watcher is not None:
            self._running = request.chain()
            begin(self._running)

    def after_task_step(self, task: Any) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            end(running)

    def after_run(self) -> None:
        pieces.oversee(get_ident(), None)

    def suspended(self, watched: Callable[[object], bool]) -> bool:
        """Whether a task that works for no request, and whose steps are not noted, has watched code in it."""
        root = self._root()
        tasks = [] if root is None else [root]
        try:
            while tasks:
                task = tasks.pop()
                if pieces.awaits_watched(task.coro, watched):
                    return True
                for nursery in list(task.child_nurseries):
                    tasks.extend(
                        child
                        for child in list(nursery.child_tasks)
                        if (request := child.context.get(current)) is None or request.task is child
                    )
        except RuntimeError:  # trio's thread has started one meanwhile
            return True
        return root is None


_runs: weakref.WeakKeyDictionary[Any, _Steps] = weakref.WeakKeyDictionary()


def follow_tasks(request: GuardedRequest | None) -> bool:
    """Follow the tasks of the running trio loop; ``False`` where there is none."""
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        root, task = trio.lowlevel.current_root_task(), trio.lowlevel.current_task()
    except RuntimeError:
        return False
    if request is not None:
        request.task = task
    if root is not None and root not in _runs:
        steps = _runs[root] = _Steps(root)
        trio.lowlevel.add_instrument(steps)
        pieces.oversee(get_ident(), steps.suspended)
    return True
