"""What a loop is given passes through the guard unchanged, and what is known of names follows the guards."""

from __future__ import annotations

import asyncio
import types

from stateguard.attribution import asyncio_tasks, pieces


def test_a_followed_loop_takes_what_any_loop_takes() -> None:
    called: list[object] = []

    async def main() -> None:
        assert asyncio_tasks.follow_tasks()
        loop = asyncio.get_running_loop()
        loop.call_soon(called.append, 1)
        loop.call_soon(callback=lambda: called.append(2))
        loop.call_later(delay=0, callback=lambda: called.append(3))
        loop.call_at(when=loop.time(), callback=lambda: called.append(4))
        loop.call_soon_threadsafe(called.append, 5)
        handle = loop.call_later(0, called.append, 6)
        handle.cancel()
        async with asyncio.timeout(20):
            while len(called) < 5:
                await asyncio.sleep(0)
            assert await asyncio.create_task(asyncio.sleep(0, "done")) == "done"

    try:
        asyncio.run(main())
    finally:
        asyncio_tasks.unfollow_tasks()
    assert sorted(called, key=str) == [1, 2, 3, 4, 5]


def test_a_framework_is_asked_about_again_when_a_guard_comes_or_goes() -> None:
    source = "async def step():\n    pass\n"
    module = types.ModuleType("starlette.made_up")
    exec(source, vars(module))

    def watched(name: object) -> bool:
        return name == "starlette.made_up"

    def asked() -> bool:
        coroutine = module.step()
        try:
            return pieces.may_run_watched(coroutine)
        finally:
            coroutine.close()

    assert [asked(), asked()] == [False, False]
    pieces.watch(watched)
    try:
        assert [asked(), asked()] == [True, True]
    finally:
        pieces.unwatch(watched)
    assert [asked(), asked()] == [False, False]
