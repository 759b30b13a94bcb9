"""Celery: each task is a guarded request, named after the task, with the task's id.

``guard_tasks(app, watch=["myapp", "myapp.*"])`` before the first ``@app.task``, or
``Celery(task_cls="stateguard.integrations.celery:GuardedTask")``, which takes its options from the
environment and from ``[tool.stateguard]``.

A worker process runs thousands of tasks one after another, and in the pools ``threads`` and ``gevent``
several at once: its module globals are shared by all of them. With ``on_leak="raise"`` a task that has leaked
fails with :class:`~stateguard.errors.SharedStateMutated`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from celery import Task

from stateguard.errors import ConfigError
from stateguard.guard import Guard

if TYPE_CHECKING:
    from celery import Celery

    from stateguard.options import Options


class GuardedTask(Task):
    """A task whose every execution is a guarded request; ``guard`` is made at the first one."""

    abstract = True
    guard: Guard | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task; Celery's worker calls this when a task class defines it."""
        if self.guard is None:
            GuardedTask.guard = Guard()
        assert self.guard is not None
        name, id_ = str(self.name), self.request.id
        with self.guard.request(name, method="TASK", id=id_, data=(args, kwargs)):
            # Called by a worker, the task's request is on Celery's stack already: super() would hide it.
            return super().__call__(*args, **kwargs) if id_ is None else self.run(*args, **kwargs)


def guard_tasks(app: Celery, *, guard: Guard | None = None, **options: Unpack[Options]) -> Guard:
    """Guard all tasks of ``app`` that are defined from now on; ``app.Task`` stays a base of theirs.

    Raises :class:`~stateguard.errors.ConfigError` if tasks have been defined already: they would be left out.
    """
    if guard is not None and options:
        raise ConfigError(f"give either guard= or options, not both: {', '.join(sorted(options))}")
    own = sorted(name for name in vars(app).get("_tasks", ()) if not name.startswith("celery."))
    if own or app.finalized:
        raise ConfigError(f"call guard_tasks() before tasks are defined; defined already: {', '.join(own)}")
    guard = guard if guard is not None else Guard(**options)
    app.Task = type("GuardedTask", (GuardedTask, app.Task), {"abstract": True, "guard": guard})
    return guard
