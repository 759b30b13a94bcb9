"""What a loop is given passes through the guard unchanged, and what is known of names follows the guards."""

from __future__ import annotations

import asyncio
import gc
import types
import weakref

import pytest

from stateguard.attribution import asyncio_tasks, pieces
from stateguard.attribution.handover import Handed
from tests.attribution.loops import LOOPS


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


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_every_method_that_takes_a_callback_is_replaced_once_and_given_back(new_loop):
    async def main():
        loop = asyncio.get_running_loop()
        assert asyncio_tasks.follow_tasks()
        first = dict(vars(loop))
        assert {*asyncio_tasks._CALLS} <= {*first}
        asyncio_tasks._note_callbacks(loop)
        assert vars(loop) == first
        asyncio_tasks.content(Protocol())
        assert {*asyncio_tasks._CALLS} - {*vars(loop)} == {"call_soon"}
        assert asyncio_tasks.follow_tasks()
        assert {name: vars(loop)[name] for name in first if name != "call_soon"} == {
            name: method for name, method in first.items() if name != "call_soon"
        }
        asyncio_tasks.unfollow_tasks()
        assert not {*asyncio_tasks._CALLS} & {*vars(loop)}

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@pytest.fixture
def application():
    """A module that is watched, and an instance of a class of it."""
    module = types.ModuleType("application_with_timers")
    exec("class Service:\n    def tick(self, *args): pass\n", vars(module))

    def watched(name: object) -> bool:
        return name == module.__name__

    pieces.watch(watched)
    yield module.Service()
    pieces.unwatch(watched)


class Protocol:
    """A server's."""

    def timed_out(self, *args): ...


@pytest.mark.parametrize("name", ["call_later", "call_at"])
def test_a_timer_of_the_application_is_noted_and_a_servers_is_not(application, name):
    taken = []

    def schedule(*args, **named):
        taken.append((args, named))
        return "a handle"

    timer = asyncio_tasks._CALLS[name](schedule)
    server = Protocol().timed_out
    for _ in range(2):  # the first one asks what it is, the second one knows
        assert timer(5, server) == "a handle"
        assert timer(5, server, 1, context=None) == "a handle"
        assert taken == [((5, server), {}), ((5, server, 1), taken[-1][1])]
        assert taken[-1][1] in ({}, {"context": None})
        taken.clear()
    assert timer(5, application.tick, "argument") == "a handle"
    [((when, noted, argument), named)] = taken
    assert (when, type(noted), argument, named) == (5, Handed, "argument", {})
    with pytest.raises(TypeError):
        timer(5)


def test_what_was_silent_is_asked_about_again_when_a_guard_comes():
    module = types.ModuleType("application_watched_later")
    exec("class Service:\n    def tick(self): pass\n", vars(module))
    tick = module.Service().tick

    def watched(name: object) -> bool:
        return name == module.__name__

    taken = []
    timer = asyncio_tasks._CALLS["call_later"](lambda delay, callback: taken.append(type(callback)))
    for _ in range(3):
        timer(0, tick)
    pieces.watch(watched)
    try:
        timer(0, tick)
    finally:
        pieces.unwatch(watched)
    timer(0, tick)
    assert taken == [*[types.MethodType] * 3, Handed, types.MethodType]


def test_a_timer_goes_with_its_loop():
    class Loop:
        def call_later(self, delay, callback, *args, context=None): ...

    loop = Loop()
    loop.call_later = asyncio_tasks._CALLS["call_later"](loop.call_later)
    loop.call_later.own = loop
    loop.call_later(0, Protocol().timed_out)
    loop.call_later(0, Protocol().timed_out)
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", ["call_later", "call_at"])
def test_a_method_that_is_replaced_goes_by_its_name(name):
    loop = asyncio.new_event_loop()
    try:
        noting = asyncio_tasks._CALLS[name](getattr(loop, name))
        if asyncio_tasks.Timer is not None:
            assert (noting.__name__, noting.__qualname__) == (name, f"BaseEventLoop.{name}")
        assert asyncio_tasks._is_noting(noting)
        assert not asyncio_tasks._is_noting(getattr(loop, name))
        assert not asyncio_tasks._is_noting(None)
    finally:
        loop.close()


def test_what_an_application_puts_on_a_loop_is_told_by_no_hash():
    class Recorder:
        __code__ = []

        def __call__(self, *args, **named): ...

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later = Recorder()
        assert asyncio_tasks.follow_tasks()
        loop.call_at = mine = Recorder()
        asyncio_tasks.unfollow_tasks()
        assert loop.call_at is mine
        assert type(loop.call_later) is Recorder

    asyncio.run(main())


def test_what_a_guard_has_forgotten_is_not_kept_by_a_loop():
    timer = asyncio_tasks._CALLS["call_later"](lambda delay, callback: None)

    class Plugin:
        def tick(self): ...

    for _ in range(2):
        timer(0, Plugin().tick)
    gone = weakref.ref(Plugin)
    del Plugin
    pieces._forget()
    gc.collect()
    assert gone() is None
