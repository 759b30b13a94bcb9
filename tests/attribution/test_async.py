"""Every way of starting work on an event loop is attributed exactly, at its first occurrence."""

from __future__ import annotations

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from stateguard.parallel import PARALLEL
from tests.attribution import shared
from tests.attribution.driver import app_of, exact, guarding, http_scope, innocents, receive, send, serve
from tests.attribution.generators import GENERATOR_WAYS
from tests.attribution.loops import LOOPS

WAYS = {**shared.ASYNCIO_WAYS, **GENERATOR_WAYS}


def run(loop: str, main: Any) -> Any:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", WAYS)
def test_every_write_is_exact_at_first_occurrence(way: str, loop: str) -> None:
    with guarding() as guard:
        run(loop, serve(guard, WAYS[way]))
        found = [leak for leak in guard.leaks if leak.root.endswith(".LOG")]
        expected = 8 if way == "gather" else 4
        assert len(found) == expected
        assert [leak.confidence for leak in found] == ["exact"] * expected
        assert innocents(guard.leaks) == []
        assert {leak.request.id for leak in found} == {"guilty-0", "guilty-4", "guilty-8", "guilty-12"}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", shared.THREAD_WAYS)
def test_work_handed_to_a_thread_stays_with_its_request(way: str, loop: str) -> None:
    with guarding() as guard:
        run(loop, serve(guard, shared.THREAD_WAYS[way], requests=4))
        (first,) = guard.leaks  # proven, unless the loop's thread was busy just then
        accused = [info.id for info in ([first.request] if first.request else first.suspects)]
        if PARALLEL:  # a step of another request may have run at the very instant of the write
            assert "guilty-0" in accused
        else:
            assert accused == ["guilty-0"]
        for _ in range(4):
            run(loop, serve(guard, shared.THREAD_WAYS[way]))
        least = 1 if PARALLEL else 13  # two that write between two looks are told as one
        assert least <= len(guard.leaks) <= 17
        assert len(shared.LOG) == 17
        assert innocents(guard.leaks) == []
        for leak in guard.leaks:
            accused = [leak.request] if leak.request else leak.suspects
            assert any("guilty" in info.id for info in accused)


def test_a_task_that_outlives_its_request_is_reported_as_after_the_response() -> None:
    with guarding() as guard:
        run("asyncio", serve(guard, shared.outliving))
        found = [leak for leak in guard.leaks if leak.root.endswith(".LOG")]
        assert len(found) == 4
        assert all(leak.after_response for leak in found)
        assert not any(leak.after_response for leak in guard.leaks if leak.root.endswith(".KEPT"))


def test_a_write_that_is_put_back_is_reported_as_restored() -> None:
    async def flip(user: str) -> None:
        shared.TABLE["flag"] = user
        await shared.pause()
        del shared.TABLE["flag"]

    with guarding() as guard:
        asyncio.run(serve(guard, flip, requests=4))
        (leak,) = guard.leaks
        assert leak.restored
        assert leak.restored_at is not None
        assert leak.restored_at >= leak.time
        assert leak.path == "tests.attribution.shared.TABLE['flag']"
        assert leak.request.id == "guilty-0"
        assert len(leak.in_flight) == 3


def test_that_it_was_put_back_is_said_with_who_could_read_it_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(guard: Any) -> None:
        written, put_back = asyncio.Event(), asyncio.Event()

        async def flip(user: str) -> None:
            shared.TABLE["flag"] = user
            written.set()
            await put_back.wait()
            del shared.TABLE["flag"]

        async def late() -> None:
            put_back.set()
            await asyncio.sleep(0)

        flipping = asyncio.create_task(guard.run("flipping", flip("ann")))
        await written.wait()
        await guard.run("late", late())
        await flipping

    with guarding() as guard, caplog.at_level(logging.INFO, "stateguard"):
        asyncio.run(main(guard))
        (leak,) = guard.leaks
        assert [info.path for info in leak.in_flight] == ["late"]
    first, then = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"shared state added: {leak.path} [")
    assert "no other request was in flight" in first
    assert f"[leak {leak.id}]: put back " in then
    assert f"later by {leak.request}; 1 other request was in flight before it was put back and" in then
    assert f"could read it until then: {leak.in_flight[0]}" in then


def test_code_outside_any_request_is_never_blamed_on_one() -> None:
    async def main(guard: Any) -> None:
        await serve(guard, shared.direct, requests=1)
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(0.0005 * i, shared.AGENT.__dict__.update, {"tick": i}) for i in range(30)]
        await serve(guard, shared.direct)
        for timer in timers:
            timer.cancel()

    with guarding() as guard:
        asyncio.run(main(guard))
        assert {leak.root for leak in guard.leaks} == {"tests.attribution.shared.LOG"}
        assert innocents(guard.leaks) == []


def test_a_done_callback_does_not_accuse_the_next_request() -> None:
    with guarding() as guard:
        asyncio.run(serve(guard, shared.outliving))
        kept = [leak for leak in guard.leaks if leak.root.endswith(".KEPT")]
        assert {leak.request.id for leak in exact(kept)} == {"guilty-0", "guilty-4", "guilty-8", "guilty-12"}
        assert {leak.kind for leak in kept} == {"added"}


def test_a_task_factory_that_is_set_keeps_working_and_is_given_back() -> None:
    made: list[Any] = []

    def factory(loop: Any, coro: Any, **options: Any) -> Any:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        with guarding() as guard:
            await serve(guard, shared.child_task, requests=4)
            assert loop.get_task_factory() is not factory
            assert [leak.request.id for leak in exact(guard.leaks)] == ["guilty-0"]
        assert loop.get_task_factory() is factory

    asyncio.run(main())
    assert [coro.__qualname__ for coro in made].count("child") == 1


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_a_job_that_is_run_as_a_request(way: str) -> None:
    async def main(guard: Any) -> None:
        jobs = {f"innocent {n}": shared.pause() for n in range(4)}
        jobs |= {f"guilty {n}": WAYS[way](f"u{n}") for n in range(4)}
        await asyncio.gather(*(guard.run(name, job) for name, job in jobs.items()))
        await asyncio.sleep(0.03)

    with guarding() as guard:
        asyncio.run(main(guard))
        found = [leak for leak in guard.leaks if leak.root.endswith(".LOG")]
        assert [leak.confidence for leak in found] == ["exact"] * len(found)
        assert {leak.request.path for leak in found} == {f"guilty {n}" for n in range(4)}


def test_tasks_of_a_block_in_a_coroutine_stay_with_it() -> None:
    async def main(guard: Any) -> None:
        ended = asyncio.Event()

        async def outliving() -> None:
            await ended.wait()
            await shared.child("after")

        with guard.request("block"):
            later = asyncio.create_task(outliving())
            await asyncio.create_task(shared.child("during"))
        ended.set()
        await later

    with guarding() as guard:
        asyncio.run(main(guard))
        assert [leak.request.path for leak in exact(guard.leaks)] == ["block"] * len(guard.leaks)
        assert [leak.after_response for leak in guard.leaks] == [False, True]


EAGER = [asyncio.eager_task_factory] if sys.version_info >= (3, 12) else [None]


@pytest.mark.parametrize("factory", EAGER)
def test_eager_tasks(factory: Any) -> None:
    async def at_once(user: str) -> None:
        async def eager() -> None:
            shared.append(user)
            await shared.pause()
            shared.rebind(user)

        await asyncio.create_task(eager())

    async def main(guard: Any) -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        await serve(guard, at_once)

    with guarding() as guard:
        asyncio.run(main(guard))
        assert len(exact(guard.leaks)) == 8
        assert innocents(guard.leaks) == []


@pytest.mark.parametrize("factory", EAGER)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_with_eager_tasks(way: str, factory: Any) -> None:
    async def main(guard: Any) -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        await serve(guard, WAYS[way])

    with guarding() as guard:
        asyncio.run(main(guard))
        found = [leak for leak in guard.leaks if leak.root.endswith(".LOG")]
        assert [leak.confidence for leak in found] == ["exact"] * len(found)
        assert {leak.request.id for leak in found} == {"guilty-0", "guilty-4", "guilty-8", "guilty-12"}
        assert innocents(guard.leaks) == []


def test_tasks_look_as_they_do_without_a_guard() -> None:
    async def named() -> str:
        task = asyncio.current_task()
        assert task is not None
        coroutine = task.get_coro()
        assert asyncio.iscoroutine(coroutine)
        assert coroutine.__qualname__.endswith("named")
        assert coroutine.cr_code.co_name == "named"
        assert "named" in repr(task)
        assert task.get_stack()[-1].f_code.co_name == "named"
        return task.get_name()

    seen: list[str] = []

    async def work(user: str) -> None:
        seen.append(await asyncio.create_task(named(), name="mine"))

    with guarding() as guard:
        asyncio.run(serve(guard, work, requests=4))
    assert seen == ["mine"]


def test_everything_is_given_back_when_the_last_guard_closes() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        submit = ThreadPoolExecutor.submit
        with guarding() as one, guarding() as two:
            await serve(one, shared.child_task, requests=4)
            await serve(two, shared.child_task, requests=4)
            one.close()
            assert loop.get_task_factory() is not None
        assert loop.get_task_factory() is None
        assert ThreadPoolExecutor.submit is submit

    asyncio.run(main())


def test_two_guards_around_one_application_both_know_who_did_it() -> None:
    async def main(inner: Any, outer: Any) -> None:
        app = outer.asgi(inner.asgi(app_of(shared.child_task)))
        async with anyio.create_task_group() as group:
            for i in range(8):
                name = f"{'innocent' if i % 2 else 'guilty'}-{i}"
                scope = http_scope(name, "/" if i % 2 else "/guilty")
                group.start_soon(app, scope, receive, send)

    with guarding() as inner, guarding() as outer:
        asyncio.run(main(inner, outer))
        for guard in (inner, outer):
            assert len(exact(guard.leaks)) == 4
            assert innocents(guard.leaks) == []


def test_raise_mode_fails_the_guilty_only() -> None:
    outcomes: dict[str, str] = {}

    async def one(app: Any, name: str, path: str) -> None:
        try:
            await app(http_scope(name, path), receive, send)
            outcomes[name] = "served"
        except Exception as error:
            outcomes[name] = type(error).__name__

    async def main(guard: Any) -> None:
        app = guard.asgi(app_of(shared.child_task))
        async with anyio.create_task_group() as group:
            for i in range(16):
                guilty = i % 4 == 0
                name = f"{'guilty' if guilty else 'innocent'}-{i}"
                group.start_soon(one, app, name, "/guilty" if guilty else "/")

    with guarding(on_leak="raise") as guard:
        asyncio.run(main(guard))
    assert {name for name, outcome in outcomes.items() if outcome == "SharedStateMutated"} == {
        name for name in outcomes if "guilty" in name
    }
    assert set(outcomes.values()) == {"served", "SharedStateMutated"}
