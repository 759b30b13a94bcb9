"""Tasks on trio: an instrument is told of every task step, so child tasks need no wrapping at all."""

from __future__ import annotations

import sys
import weakref
from typing import Any

from stateguard.attribution.driven import begin, end
from stateguard.attribution.request import GuardedRequest, current


class _Steps:
    """Puts each step of a task that works for a request on that request's account."""

    def __init__(self) -> None:
        self._running: list[GuardedRequest] = []

    def before_task_step(self, task: Any) -> None:
        request = task.context.get(current)
        # The task that called the middleware is driven by it.
        if request is not None and request.task is not task and request.guard.watcher is not None:
            self._running = request.chain()
            begin(self._running)

    def after_task_step(self, task: Any) -> None:
        if self._running:
            running, self._running = self._running, []
            end(running)


_runs: weakref.WeakKeyDictionary[Any, _Steps] = weakref.WeakKeyDictionary()


def follow_tasks(request: GuardedRequest) -> bool:
    """Follow the tasks of the running trio loop; ``False`` where there is none."""
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        root, request.task = trio.lowlevel.current_root_task(), trio.lowlevel.current_task()
    except RuntimeError:
        return False
    if root is not None and root not in _runs:
        steps = _runs[root] = _Steps()
        trio.lowlevel.add_instrument(steps)
    return True
