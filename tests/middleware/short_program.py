"""Random ASGI applications, and what can be seen of them from outside: the same whatever serves them.

``python -m tests.middleware.short_program FIRST LAST WRAPPER`` writes a line of JSON for each seed. ``bare``
wraps nothing around the applications, ``guarded`` a guard that lets them pass until they wake it.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import random
import re
import sys
import types
import warnings
from typing import Any

import trio

from stateguard import Guard, current_scope, session
from stateguard.asgi import StateGuardMiddleware
from stateguard.attribution.request import current
from stateguard.errors import NoActiveScope
from stateguard.passing import PassingScope
from stateguard.scope import entered
from tests.middleware.conftest import SOURCE, rest

STEPS = 6


class Own(Exception):
    """An application's own."""


class Fatal(BaseException):
    """One that is no Exception."""


@types.coroutine
def pause(value: object = None) -> Any:
    return (yield value)


class Awaitable:
    """May be awaited, and is no coroutine."""

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine

    def __await__(self) -> Any:
        return (yield from self.coroutine.__await__())


@types.coroutine
def generator(coroutine: Any) -> Any:
    return (yield from coroutine.__await__())


def chain(error: BaseException | None) -> Any:
    """What is known of an exception, tracebacks left out."""
    seen: list[BaseException] = []
    told: list[Any] = []
    while error is not None and len(told) < 8:
        if any(error is one for one in seen):
            told.append("a cycle")
            break
        seen.append(error)
        cause = error.__cause__
        inner = [chain(one) for one in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
        args = [re.sub(" at 0x[0-9a-f]+", "", str(arg)) for arg in error.args if not isinstance(arg, list)]
        told.append([type(error).__name__, args, error.__suppress_context__, type(cause).__name__, inner])
        error = error.__context__
    return told


def named(leak: Any) -> str:
    """Who is named for it, and how surely."""
    suspects = sorted({one.path for one in leak.suspects})
    return repr((leak.confidence, leak.path, leak.request and leak.request.path, suspects))


class Program:
    """One random application, its clients, and what was seen of them."""

    drivers: tuple[str, ...] = ("hand", "hand", "asyncio", "trio")
    middleware: Any = StateGuardMiddleware
    forms: tuple[str, ...] = ("coroutine",) * 6 + ("awaitable", "generator", "raises", "number", "finished")

    def __init__(self, seed: int, guarded: bool) -> None:
        self.random = random.Random(seed)
        self.guarded = guarded
        self.seen: list[Any] = []
        self.own: list[Any] = []
        """What only a guarded application shows."""
        self.timed = False
        """Whether what is found when depends on the clock: slices last as long as they may."""
        self.driver = self.random.choice(self.drivers)
        name = "short_program_state"
        self.state = types.ModuleType(name)
        sys.modules[name] = self.state
        exec(compile(SOURCE, f"{name}.py", "exec"), vars(self.state))
        self.guards = []
        if guarded:
            # Whatever they take, looks are taken when the application says so.
            self.guards = [Guard(watch=[name], process=False, locate="never", budget=1.0) for _ in range(2)]
            for guard in self.guards:
                rest(guard)
                pace = guard.engine.pace
                pace._since, pace._rarely = 10**30, 1e-9
        self.plans = [self.plan(2) for _ in range(self.random.randint(1, 4))]
        self.kinds = [self.random.choice(self.forms) for _ in self.plans]
        self.moods = [self.random.choice((0, 0, 0, 1, None)) for _ in range(9)]
        self.wrapped = self.wrap(self.app, 0)
        self.inner = self.wrap(self.app, self.random.choice((0, 1)))

    def wrap(self, app: Any, which: int) -> Any:
        if self.guards:
            return self.middleware(app, guard=self.guards[which])
        return self.bare(app)

    @staticmethod
    def bare(app: Any) -> Any:
        async def bare(scope: Any, receive: Any, send: Any) -> Any:
            return await app(scope, receive, send)

        bare.__qualname__ = "StateGuardMiddleware.__call__"  # for what is said of it
        return bare

    def plan(self, depth: int) -> list[Any]:
        r = self.random
        steps: list[Any] = []
        for _ in range(r.randint(1, STEPS)):
            kind = r.choice(
                ("wait",) * 5
                + ("leak", "leak", "session", "send", "mood", "mood", "raise", "return", "fatal")
                + (("try", "try", "swallow", "nested", "task", "group") if depth else ())
            )
            if kind in ("try", "swallow", "nested", "task", "group"):
                steps.append((kind, self.plan(depth - 1), r.randrange(3)))
            elif kind == "mood":
                steps.append(
                    (kind, r.choice(("strict", "brief", "sparse", "slicing", "due", "armed", "rest")))
                )
            else:
                steps.append((kind, r.randrange(4)))
        return steps

    def app(self, scope: Any, receive: Any, send: Any) -> Any:
        kind = self.kinds[scope["number"] % len(self.kinds)] if scope["path"] != "/inner" else "coroutine"
        if kind == "raises":
            raise Own("at once")
        if kind == "number":
            return 5
        served = self.serve(scope, receive, send)
        if kind == "awaitable":
            return Awaitable(served)
        if kind == "generator":
            return generator(served)
        if kind == "finished":
            served.close()
        return served

    async def serve(self, scope: Any, receive: Any, send: Any) -> Any:
        return await self.follow(scope["plan"], scope, receive, send)

    async def wait(self, n: int) -> None:
        if self.driver == "hand":
            self.seen.append(("sent", await pause(n)))
        elif self.driver == "asyncio":
            await asyncio.sleep(0)
        else:
            await trio.lowlevel.checkpoint()

    async def follow(self, plan: list[Any], scope: Any, receive: Any, send: Any) -> Any:
        path, note = scope["path"], self.seen.append
        for kind, *more in plan:
            if kind == "wait":
                await self.wait(more[0])
            elif kind == "leak":
                self.state.leak(path)
            elif kind == "session":
                if self.guarded:
                    try:
                        mine = session()
                    except NoActiveScope:  # resumed in a context of another
                        self.own.append((path, "none"))
                        continue
                    self.own.append((path, mine.user_id, current_scope().request.path))
                    mine.user_id = mine.user_id or path
            elif kind == "send":
                await send({"type": "x", "n": more[0], "path": path})
                note(("received", await receive()))
            elif kind == "mood":
                self.mood(more[0])
            elif kind == "raise":
                try:
                    raise Own(path, more[0])
                finally:
                    note(("handling", chain(sys.exc_info()[1])))
            elif kind == "fatal" and not more[0] and self.driver == "hand":
                raise Fatal(path)
            elif kind == "return":
                return [path, more[0]]
            elif kind == "try":
                try:
                    await self.follow(more[0], scope, receive, send)
                except Own as error:
                    note(("caught", chain(error)))
                    if more[1] == 1:
                        raise ValueError("another") from error
                    if more[1] == 2:
                        raise KeyError("while handling")  # noqa: B904
                finally:
                    if more[1]:
                        self.state.leak(path + "/finally")
                        if self.driver != "hand":
                            self.seen.append("finally")
            elif kind == "swallow":
                try:
                    await self.follow(more[0], scope, receive, send)
                except BaseException as error:
                    note(("swallowed", chain(error)))
                    if self.driver == "trio" and isinstance(error, (trio.Cancelled, BaseExceptionGroup)):
                        raise
            elif kind == "nested":
                inner = {**scope, "path": "/inner", "plan": more[0]}
                if more[1]:
                    inner["headers"] = [(b"x-request-id", b"inner")]
                note(("inner", await self.inner(inner, receive, send)))
            elif kind == "task":
                await self.children([more[0]], scope, receive, send)
            elif kind == "group":
                await self.children([more[0]] * 2, scope, receive, send)
        return None

    async def children(self, plans: list[Any], scope: Any, receive: Any, send: Any) -> None:
        if self.driver == "hand":
            for plan in plans:
                await self.follow(plan, scope, receive, send)
        elif self.driver == "asyncio":
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    group.create_task(self.follow(plan, scope, receive, send))
        else:
            async with trio.open_nursery() as nursery:
                for plan in plans:
                    nursery.start_soon(self.follow, plan, scope, receive, send)

    def mood(self, what: str) -> None:
        for guard in self.guards[:1]:
            engine = guard.engine
            if what == "slicing":
                self.timed = True
                engine.pace.slicing = not engine.pace.slicing
            elif what == "due":
                engine.pace.next_look = 0
            elif what == "armed":
                engine.finder.armed = not engine.finder.armed
            elif what == "rest":
                engine.finder.armed = engine.pace.slicing = False
                rest(guard)
            else:
                engine.pace.gait = what

    def request(self, i: int) -> Any:
        plan = self.plans[i % len(self.plans)]
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/{i}",
            "headers": [(b"x-request-id", b"%d" % i)],
            "query_string": b"",
            "client": None,
            "number": i,
            "plan": plan,
        }

        async def receive() -> Any:
            await self.wait(0)
            return {"type": "y"}

        async def send(message: Any) -> None:
            self.seen.append(("message", message))

        return self.wrapped(scope, receive, send)

    def by_hand(self) -> None:
        r = self.random
        contexts = [contextvars.copy_context() for _ in range(4)]
        under_way = [(i, self.request(i)) for i in range(4)]
        turns = [
            (r.randrange(4), r.choice(("send",) * 8 + ("throw", "cancel", "close", "drop", "exit")))
            for _ in range(40)
        ]
        for which, what in turns:
            found = [pair for pair in under_way if pair[0] == which]
            if not found:
                continue
            coroutine = found[0][1]
            # Sometimes in a context of another: requests may be resumed anywhere.
            context = contexts[which if r.random() < 0.9 else r.randrange(4)]
            try:
                if what == "send":
                    started = coroutine.cr_frame is not None and coroutine.cr_await is not None
                    out = context.run(coroutine.send, r.randrange(9) if started else None)
                elif what == "close":
                    out = context.run(coroutine.close)
                    under_way.remove(found[0])
                elif what == "drop":
                    under_way.remove(found[0])
                    out = None
                    found.clear()
                    coroutine = None
                    gc.collect()
                else:
                    error = {"throw": Own, "cancel": asyncio.CancelledError, "exit": GeneratorExit}[what](
                        which
                    )
                    out = context.run(coroutine.throw, error)
                self.seen.append((which, what, out))
            except StopIteration as stop:
                self.seen.append((which, what, "returned", stop.value))
                under_way[:] = [pair for pair in under_way if pair[0] != which]
            except BaseException as error:
                self.seen.append((which, what, "raised", chain(error)))
                if isinstance(error, AssertionError):
                    raise
            for context in contexts:
                if self.guarded:
                    self.own.append(context.run(self.who))
        found = []
        coroutine = None
        under_way.clear()
        gc.collect()

    def who(self) -> Any:
        scope = current_scope()
        return None if scope is None else str(scope.request.path)

    async def in_asyncio(self) -> None:
        tasks = [asyncio.create_task(self.late(i)) for i in range(4)]
        cancelled = [(self.random.randrange(12), self.random.randrange(4)) for _ in range(3)]
        for tick in range(12):
            for at, which in cancelled:
                if at == tick:
                    tasks[which].cancel(f"at {tick}")
            await asyncio.sleep(0)
        for task in tasks:
            try:
                self.seen.append(("returned", await asyncio.wait_for(task, 20)))
            except BaseException as error:
                self.seen.append(("raised", chain(error)))

    async def late(self, i: int) -> Any:
        try:
            return await self.request(i)
        finally:
            assert not self.guarded or current_scope() is None

    async def in_trio(self) -> None:
        ends = [self.random.randrange(3, 30) for _ in range(4)]

        async def one(i: int) -> None:
            try:
                with trio.CancelScope() as scopes[i]:
                    self.seen.append((i, "returned", await self.request(i)))
            except BaseException as error:
                self.seen.append((i, "raised", chain(error)))
                assert not self.guarded or current_scope() is None

        scopes = {i: trio.CancelScope() for i in range(4)}
        # One after the other: trio shuffles those that are ready.
        for i in range(4):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, i)
                for _ in range(ends[i]):
                    await trio.lowlevel.checkpoint()
                scopes[i].cancel()

    def run(self) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            errors: list[str] = []
            sys.unraisablehook = lambda said: errors.append(repr(said.exc_value))
            if self.driver == "hand":
                self.by_hand()
            elif self.driver == "asyncio":
                asyncio.run(self.in_asyncio())
            else:
                trio.run(self.in_trio)
            gc.collect()
        told: dict[str, Any] = {
            "driver": self.driver,
            "seen": sorted(map(repr, self.seen)) if self.driver == "trio" else self.seen,
            "warned": sorted(f"{one.category.__name__}: {one.message}" for one in warned),
            "errors": sorted(errors),
        }
        if self.guarded:
            told["own"] = [sorted(map(repr, self.own)) if self.driver == "trio" else self.own]
            assert entered.get() is None
            assert current.get() is None
            for guard in self.guards:
                engine = guard.engine
                paths = sorted(
                    str(one.request.path) for one in engine.unseen.since if isinstance(one, PassingScope)
                )
                told["own"].append(
                    {
                        "requests": guard.stats.requests,
                        "under way": len(engine.passing.scopes),
                        "active": len(engine.active),
                        "since": None if self.timed else paths,
                        "leaks": None if self.timed else sorted(map(named, guard.leaks)),
                        "failures": engine.failures,
                    }
                )
                guard.close()
            self.guards.clear()
            del guard, engine, self.wrapped, self.inner
            gc.collect()
            told["own"].append(sum(type(one) is PassingScope for one in gc.get_objects()))
        return told


def main(kind: type[Program]) -> None:
    """Write what is seen of the programs that the command line asks for."""
    logging.disable(logging.CRITICAL)
    first, last, wrapper = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]
    gc.freeze()  # what is imported need not be looked at each time
    for seed in range(first, last):
        trio._core._run._r.seed(seed)  # type: ignore[attr-defined]
        program = kind(seed, wrapper == "guarded")
        json.dump(program.run(), sys.stdout, default=repr)
        print(flush=True)


if __name__ == "__main__":
    main(Program)
