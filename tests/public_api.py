"""Everything that is public, used once, with the types that users are promised.

mypy and pyright check this file as strictly as they can; a test sees to it that no public name is missing.
What is written here is what the deprecation policy (docs/versions.md) covers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, assert_type

import stateguard
from stateguard import (
    AgentSession,
    Guard,
    Leak,
    Prices,
    RequestContext,
    RequestVar,
    Scope,
    SharedStateMutated,
    StateGuardError,
    carry,
    current_scope,
    freeze,
    freeze_module,
    json_default,
    open_scope,
    request_context,
    scoped,
    session,
    unscoped,
)
from stateguard.asgi import StateGuardMiddleware as ASGIMiddleware
from stateguard.errors import (
    ConfigError,
    FreezeError,
    NoActiveScope,
    SessionConflict,
    SessionDenied,
    SessionError,
    SessionIdRefused,
    SessionLocked,
    SessionNotStorable,
    SessionRecordError,
    SessionStoreError,
    SessionTooLarge,
    WatchError,
)
from stateguard.integrations.aws_lambda import guard_handler
from stateguard.integrations.mcp import StateGuardMiddleware as MCPMiddleware
from stateguard.leak import Frame, Location, RequestInfo
from stateguard.report.sink import Sink
from stateguard.sessions import MemoryStore, SessionStore, SignedCookie, SignedHeader, SQLiteStore
from stateguard.wsgi import StateGuardMiddleware as WSGIMiddleware


class Printer:
    """A sink, as users write one."""

    def leak(self, leak: Leak, seen: int) -> None:
        print(leak.path, seen)

    def close(self) -> None:
        pass


def guards(app: Any, on_leak: Callable[[Leak], object]) -> None:
    sink: Sink = Printer()
    guard = Guard(
        watch=["myapp", "myapp.*"],
        on_leak=on_leak,
        mode="on",
        allow=["myapp.cache:*  # bounded"],
        threshold="high",
        locate="auto",
        scope="contextvar",
        session_factory=AgentSession,
        process=True,
        show_values=False,
        keep=100,
        budget=0.05,
        surfaces={"httpx.Client": ("headers",)},
        report_to="leaks/",
        sinks=[sink],
        warm_up="30s",
    )
    assert_type(guard.leaks, list[Leak])
    assert_type(guard.counts, dict[str, int])
    assert_type(guard.summary(), str)
    assert_type(guard.unused_allowances(), list[str])
    guard.asgi(app)
    guard.wsgi(app)
    guard.start()
    with guard.request("job", method="CALL", id="1", data={"text": "words"}):
        pass
    guard.close()
    assert_type(ASGIMiddleware(app, guard=guard).guard, Guard)
    assert_type(ASGIMiddleware(app, watch=["myapp"], on_leak="raise").guard, Guard)
    assert_type(WSGIMiddleware(app, guard=guard).guard, Guard)
    assert_type(WSGIMiddleware(app, mode="scope-only").guard, Guard)
    assert_type(MCPMiddleware(guard=guard).guard, Guard)
    handler: Callable[[Any, Any], Any] = guard_handler(app, guard=guard)
    handler({}, None)


async def calls(guard: Guard) -> None:
    async def work() -> int:
        return 1

    assert_type(await guard.run("work", work(), data=None), int)

    @guard.guarded
    def plain(text: str, *, times: int = 1) -> str:
        return text * times

    assert_type(plain("a", times=2), str)


def leaks(leak: Leak, error: SharedStateMutated) -> None:
    assert_type(leak.path, str)
    assert_type(leak.kind, str)
    assert_type(leak.request, RequestInfo | None)
    assert_type(leak.suspects, tuple[RequestInfo, ...])
    assert_type(leak.suspect_count, int)
    assert_type(leak.suspect_count_exact, bool)
    assert_type(leak.suspects_cut, bool)
    assert_type(leak.in_flight, tuple[RequestInfo, ...])
    assert_type(leak.in_flight_count, int)
    assert_type(leak.in_flight_cut, bool)
    assert_type(leak.location, Location | None)
    assert_type(leak.id, str)
    assert_type(leak.to_dict(), dict[str, Any])
    assert_type(error.leaks, tuple[Leak, ...])
    if leak.location is not None:
        assert_type(leak.location.stack, tuple[Frame, ...])


def scopes() -> None:
    with open_scope() as scope:
        assert_type(scope, Scope)
        current: Scope | None = current_scope()
        print(current, session())
        history = assert_type(scoped(list[str]), list[str])
        history.append("word")
        assert_type(unscoped(history), list[str])
        json_default(history)
        user = RequestVar[str](name="user")
        user.set("ann")
        assert_type(user.get(), str)
        carried: Callable[[str], str] = carry(str.upper)
        print(carried("a"))
        context: RequestContext[Any] = request_context()
        print(context)
    frozen: Mapping[str, int] = freeze({"limit": 1})
    print(frozen)
    freeze_module("myapp.settings", names=["LIMIT"])
    agent = AgentSession()
    agent.add_message("user", "hello")
    print(agent.history, agent.metadata, Prices)


def stores(path: Path) -> Iterable[SessionStore]:
    yield MemoryStore()
    yield SQLiteStore(str(path))
    SignedCookie("a secret of 32 characters, or so")
    SignedHeader("a secret of 32 characters, or so")


ERRORS: tuple[type[StateGuardError], ...] = (
    ConfigError,
    FreezeError,
    NoActiveScope,
    SessionConflict,
    SessionDenied,
    SessionError,
    SessionIdRefused,
    SessionLocked,
    SessionNotStorable,
    SessionRecordError,
    SessionStoreError,
    SessionTooLarge,
    SharedStateMutated,
    WatchError,
)
VERSION: str = stateguard.__version__
