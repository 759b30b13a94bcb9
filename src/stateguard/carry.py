"""Take the request's scope along into a thread that would not inherit it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar, cast

from stateguard.scope import current_scope

P = ParamSpec("P")
R = TypeVar("R")


def carry(fn: Callable[P, R]) -> Callable[P, R]:
    """Wrap ``fn`` so that it runs with the context variables, and the scope, of the place that wrapped it.

    Call it where the request is: ``executor.submit(carry(fn), x)``, ``Thread(target=carry(fn))``,
    ``executor.map(carry(fn), items)``. Every call gets its own copy of the context, so one wrapped function
    may run in many threads at once. Of a coroutine function only the scope is carried, since a task has its
    own context. Outside a request there is nothing to carry, and ``fn`` runs as it would have.

    When the request ends before ``fn`` has, ``session()`` says so there.
    """
    scope = current_scope()

    if inspect.iscoroutinefunction(fn):

        async def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            if scope is None:
                return await fn(*args, **kwargs)
            token = scope.enter()
            try:
                return await fn(*args, **kwargs)
            finally:
                scope.leave(token)

        return cast("Callable[P, R]", functools.wraps(fn)(run))

    context = copy_context()

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if scope is None or scope.carrier == "contextvar":
            # A Context can be entered by one thread at a time; copying one takes constant time.
            return context.copy().run(fn, *args, **kwargs)
        token = scope.enter()
        try:
            return context.copy().run(fn, *args, **kwargs)
        finally:
            scope.leave(token)

    return call
