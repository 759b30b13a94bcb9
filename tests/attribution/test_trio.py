"""The same on trio: the driver for the request itself, an instrument for the tasks it starts."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from stateguard.parallel import PARALLEL
from tests.attribution import generators, shared
from tests.attribution.driver import exact, guarding, innocents, serve


async def nursery(user: str) -> None:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(shared.child, user)


async def deep(user: str) -> None:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(nursery, user)


async def cancelled(user: str) -> None:
    with trio.CancelScope() as scope:
        try:
            scope.cancel()
            await trio.sleep(5)
        except trio.Cancelled:
            shared.append(user)
            raise


WAYS: dict[str, Any] = {
    "direct": shared.direct,
    "nursery": nursery,
    "deep": deep,
    "anyio": shared.anyio_group,
    "async_generator": shared.async_generator,
    "cancelled": cancelled,
    "fail_after": shared.fail_after,
    "shielded": shared.shielded,
    "aclosed": generators.aclosed,
    "thrown_into": generators.thrown_into,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_write_is_exact_at_first_occurrence(way: str) -> None:
    with guarding() as guard:
        trio.run(serve, guard, WAYS[way])
        assert len(exact(guard.leaks)) == len(guard.leaks) == 4
        assert innocents(guard.leaks) == []


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_a_job_that_is_run_as_a_request(way: str) -> None:
    async def main(guard: Any) -> None:
        async with trio.open_nursery() as tasks:
            for n in range(4):
                tasks.start_soon(guard.run, f"guilty {n}", WAYS[way](f"u{n}"))
                tasks.start_soon(guard.run, f"innocent {n}", shared.pause())

    with guarding() as guard:
        trio.run(main, guard)
        assert len(exact(guard.leaks)) == len(guard.leaks) == 4
        assert {leak.request.path for leak in guard.leaks} == {f"guilty {n}" for n in range(4)}


async def _trio_thread(user: str) -> None:
    await trio.to_thread.run_sync(shared.append, user)


async def _anyio_thread(user: str) -> None:
    await anyio.to_thread.run_sync(shared.append, user)


@pytest.mark.parametrize("work", [_trio_thread, _anyio_thread])
def test_threads(work: Any) -> None:
    with guarding() as guard:
        trio.run(serve, guard, work, 4)
        (first,) = guard.leaks
        if PARALLEL:  # the loop's thread may have run at the very instant of the write
            assert "guilty-0" in [info.id for info in ([first.request] if first.request else first.suspects)]
        else:
            assert (first.confidence, first.request.id) == ("exact", "guilty-0")
        trio.run(serve, guard, work)
        assert innocents(guard.leaks) == []
        assert (2 if PARALLEL else 5) <= len(guard.leaks) <= 5
