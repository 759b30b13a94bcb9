"""Procedures over a store, written once for plain and for asynchronous code.

A procedure is a generator that yields what it wants done; :func:`run` does it by plain calls, :func:`arun` by
awaiting. Between two yields nothing waits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from stateguard.sessions.base import SessionStore

R = TypeVar("R")
Steps = Generator["Step", Any, R]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: a store's primitive by name, ``"sleep"``, or ``"call"`` of the user's function."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None


def run(store: SessionStore, steps: Steps[R]) -> R:
    """Carry out a procedure with the store's plain methods."""
    result: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            value: R = stop.value
            return value
        result = failure = None
        try:
            result = _plain(store, step)(*step.args, **(step.kwargs or {}))
        except BaseException as error:
            failure = error


async def arun(store: SessionStore, steps: Steps[R]) -> R:
    """Carry out a procedure with the store's asynchronous methods."""
    result: Any = None
    failure: BaseException | None = None
    while True:
        try:
            step = steps.send(result) if failure is None else steps.throw(failure)
        except StopIteration as stop:
            value: R = stop.value
            return value
        result = failure = None
        try:
            result = _asynchronous(store, step)(*step.args, **(step.kwargs or {}))
            if step.name == "release":
                result = await _shielded(result)
            elif hasattr(result, "__await__"):
                result = await result
        except BaseException as error:
            failure = error


def new_mutex() -> Any:
    """A lock for the tasks of the event loop that is running: asyncio's, or trio's; for ``async with``."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.Lock()
    import asyncio

    return asyncio.Lock()


def _plain(store: SessionStore, step: Step) -> Callable[..., Any]:
    if step.name == "call":
        return _call
    method: Callable[..., Any] = time.sleep if step.name == "sleep" else getattr(store, step.name)
    return method


def _asynchronous(store: SessionStore, step: Step) -> Callable[..., Any]:
    if step.name == "call":
        return _call
    if step.name != "sleep":
        method: Callable[..., Any] = getattr(store, f"a{step.name}")
        return method
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        sleep: Callable[..., Any] = trio.sleep
        return sleep
    import asyncio

    return asyncio.sleep


async def _shielded(work: Coroutine[Any, Any, Any]) -> Any:
    """Finish ``work`` although the caller has been cancelled: a lock must be given back all the same."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        with trio.CancelScope(shield=True):
            return await work
    import asyncio

    return await asyncio.shield(asyncio.ensure_future(work))


def _call(fn: Callable[..., Any], *args: Any) -> Any:
    return fn(*args)
