"""The shared state that these tests leak into, and the ways of starting work."""

from __future__ import annotations

import asyncio
import heapq
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.to_thread
from asgiref.sync import sync_to_async

LOG: list[Any] = []
TABLE: dict[str, Any] = {"inner": {}}
HEAP: list[Any] = []
CURRENT: Any = None


class Agent:
    def __init__(self) -> None:
        self.user: Any = None


AGENT = Agent()
POOL = ThreadPoolExecutor(4)
KEPT: set[Any] = set()


def reset() -> None:
    global CURRENT
    LOG.clear()
    TABLE.clear()
    TABLE["inner"] = {}
    HEAP.clear()
    CURRENT = None
    AGENT.__dict__.clear()
    AGENT.user = None


def append(user: str) -> None:
    alias = LOG
    alias.append(user)  # WRITE append


def push(user: str) -> None:
    heapq.heappush(HEAP, user)  # WRITE push


def rebind(user: str) -> None:
    global CURRENT
    CURRENT = user  # WRITE rebind


def attribute(user: str) -> None:
    AGENT.user = user  # WRITE attribute


def after_call(user: str) -> None:
    AGENT.answer = quiet(user)  # WRITE after_call


def nested(user: str) -> None:
    TABLE["inner"]["user"] = user  # WRITE nested


def update(user: str) -> None:
    TABLE.update(
        inner={"user": user},  # the call as a whole belongs to the line it begins on
    )


def quiet(user: str) -> str:
    text = user
    return text + "!"


WRITES = {f.__name__: f for f in (append, push, rebind, attribute, after_call, nested)}


async def pause() -> None:
    await anyio.sleep(0.002)


async def child(user: str) -> None:
    await pause()
    append(user)
    await pause()


async def child_task(user: str) -> None:
    await asyncio.create_task(child(user))


async def gather(user: str) -> None:
    await asyncio.gather(child(user), child(user))


async def task_group(user: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(child(user))


async def anyio_group(user: str) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(child, user)


async def nested_tasks(user: str) -> None:
    async def outer() -> None:
        await asyncio.create_task(child(user))

    await asyncio.create_task(outer())


async def timeout(user: str) -> None:
    await asyncio.wait_for(child(user), 5)


async def outliving(user: str) -> None:
    task = asyncio.create_task(child(user))
    KEPT.add(task)
    task.add_done_callback(KEPT.discard)


async def to_thread(user: str) -> None:
    await asyncio.to_thread(append, user)


async def executor(user: str) -> None:
    await asyncio.get_running_loop().run_in_executor(POOL, append, user)


async def default_executor(user: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, append, user)


async def anyio_thread(user: str) -> None:
    await anyio.to_thread.run_sync(append, user)


async def asgiref_thread(user: str) -> None:
    await sync_to_async(append)(user)


async def direct(user: str) -> None:
    await pause()
    append(user)
    await pause()


async def async_generator(user: str) -> None:
    async def pieces():
        await pause()
        append(user)
        yield 1
        await pause()

    async for _ in pieces():
        await pause()


async def cancelled_inside(user: str) -> None:
    async def stubborn() -> None:
        try:
            await anyio.sleep(5)
        except asyncio.CancelledError:
            append(user)  # written in the step in which the cancellation arrives
            raise

    task = asyncio.create_task(stubborn())
    await pause()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


async def _until_cancelled(user: str) -> None:
    try:
        await anyio.sleep(60)
    finally:
        append(user)  # in the step in which the cancellation arrives


async def asyncio_timeout(user: str) -> None:
    try:
        async with asyncio.timeout(0.001):
            await _until_cancelled(user)
    except TimeoutError:
        await pause()


async def fail_after(user: str) -> None:
    try:
        with anyio.fail_after(0.001):
            await _until_cancelled(user)
    except TimeoutError:
        await pause()


async def shielded(user: str) -> None:
    with anyio.move_on_after(0.001):
        try:
            await anyio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await child(user)


async def sibling_fails(user: str) -> None:
    async def fails() -> None:
        await pause()
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_until_cancelled(user))
            group.create_task(fails())
    except* LookupError:
        await pause()


async def failing_child(user: str) -> None:
    async def fails() -> None:
        await child(user)
        raise LookupError

    await asyncio.gather(asyncio.create_task(fails()), return_exceptions=True)


ASYNCIO_WAYS = {
    f.__name__: f
    for f in (
        direct,
        async_generator,
        child_task,
        nested_tasks,
        gather,
        task_group,
        anyio_group,
        timeout,
        outliving,
        cancelled_inside,
        asyncio_timeout,
        fail_after,
        shielded,
        sibling_fails,
        failing_child,
    )
}
THREAD_WAYS = {f.__name__: f for f in (to_thread, executor, default_executor, anyio_thread, asgiref_thread)}
LOCK = threading.Lock()
