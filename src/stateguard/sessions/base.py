"""What a session store is: a few primitives that a backend provides, and what is built on them.

Every primitive exists twice, plain and as a coroutine function with an ``a`` in front. A backend without an
asynchronous client of its own gets the second kind for free: it runs the first in a worker thread.
"""

from __future__ import annotations

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, ParamSpec, TypeVar

from stateguard.agent_session import AgentSession
from stateguard.errors import ConfigError
from stateguard.sessions.merge import Rule, check_rules
from stateguard.sessions.policy import Policy, Terms
from stateguard.sessions.record import Commit, Record
from stateguard.sessions.steps import arun, run
from stateguard.sessions.update import update_steps

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OnConflict = Literal["merge", "raise", "lock"]

DAY = 24 * 3600.0


class SessionStore(ABC):
    """Keeps sessions between requests and processes, and never loses one of two overlapping updates.

    ``ttl`` is the time in seconds after its last use for which a session is kept (``None``: for ever).
    ``on_conflict`` decides about a save that finds the record changed since it was loaded: ``"merge"`` (the
    rules of :mod:`stateguard.sessions.merge`, single places decided by ``merge=``), ``"raise"``
    (:class:`SessionConflict`), or ``"lock"``: one request per conversation at a time, waiting up to
    ``lock_wait`` seconds. A lock is a lease of ``lock_lease`` seconds, so a dead worker holds it no longer
    than that; a request that outlives its lease still overwrites nothing: its save is compared and merged.
    ``max_bytes`` bounds one session. ``window`` loads only the last so many messages of the log: a turn then
    costs the same however long the conversation is.
    """

    def __init__(
        self,
        *,
        ttl: float | None = 14 * DAY,
        on_conflict: OnConflict = "merge",
        merge: Mapping[str, Rule] | None = None,
        max_bytes: int = 16 * 1024 * 1024,
        window: int | None = None,
        lock_lease: float = 60.0,
        lock_wait: float = 30.0,
    ) -> None:
        for name, value, least in (
            ("ttl", ttl, 0.001),
            ("max_bytes", max_bytes, 1),
            ("window", window, 1),
            ("lock_lease", lock_lease, 0.001),
            ("lock_wait", lock_wait, 0),
        ):
            if value is not None and not value >= least:
                raise ConfigError(f"{type(self).__name__}({name}={value!r}): must be at least {least}")
        if on_conflict not in {"merge", "raise", "lock"}:
            raise ConfigError(f"on_conflict={on_conflict!r}: use 'merge', 'raise' or 'lock'")
        check_rules(merge or {})
        self.policy = Policy(ttl, on_conflict, dict(merge or {}), max_bytes, window, lock_lease, lock_wait)

    # What a backend provides. All raise SessionStoreError when the store does not answer as it should.

    @abstractmethod
    def read(self, session_id: str, *, window: int | None = None, start: int | None = None) -> Record | None:
        """The record, with its log from position ``start``, or the last ``window`` items, or all of it.

        Counts as a use of the session: its time to live starts anew. ``None`` when there is no such record.
        """

    @abstractmethod
    def commit(self, commit: Commit) -> bool:
        """Apply the commit, durably, if the record is as it expects and nobody else holds its lock.

        Returns whether it was applied: by this call, or by a former one with the same token.
        """

    @abstractmethod
    def delete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """Remove the record, if it is there; with a ``version``, only if it still is that one of ``epoch``.

        Returns ``False`` only if that condition did not hold.
        """

    @abstractmethod
    def acquire(self, session_id: str, token: str, lease: float) -> bool:
        """Take the session's lock for ``lease`` seconds; whether it was free (or its lease over)."""

    @abstractmethod
    def release(self, session_id: str, token: str) -> None:
        """Give the lock back, if ``token`` still holds it."""

    def close(self) -> None:  # noqa: B027 - a store without connections has nothing to do
        """Let go of connections and files. The store may be used again afterwards."""

    async def aread(
        self, session_id: str, *, window: int | None = None, start: int | None = None
    ) -> Record | None:
        """As :meth:`read`."""
        return await in_thread(self.read, session_id, window=window, start=start)

    async def acommit(self, commit: Commit) -> bool:
        """As :meth:`commit`."""
        return await in_thread(self.commit, commit)

    async def adelete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """As :meth:`delete`."""
        return await in_thread(self.delete, session_id, version=version, epoch=epoch)

    async def aacquire(self, session_id: str, token: str, lease: float) -> bool:
        """As :meth:`acquire`."""
        return await in_thread(self.acquire, session_id, token, lease)

    async def arelease(self, session_id: str, token: str) -> None:
        """As :meth:`release`."""
        await in_thread(self.release, session_id, token)

    async def aclose(self) -> None:
        """As :meth:`close`."""
        await in_thread(self.close)

    # What every store can do.

    def update(
        self,
        session_id: str,
        fn: Callable[[Any], R],
        *,
        session_factory: Callable[[], Any] = AgentSession,
        log: str | None = "history",
        user_id: str | None = None,
        attempts: int = 50,
    ) -> R:
        """Load the session, call ``fn(session)``, save it; for scripts, jobs and Lambda handlers.

        When another process saved in between, nothing is merged: ``fn`` is called again on what that process
        saved, up to ``attempts`` times, so it should have no other effects. Returns what ``fn`` returned.
        Raises :class:`SessionConflict` after the last attempt, :class:`SessionDenied` when the session
        belongs to a user other than ``user_id``.
        """
        terms: Terms[Any] = Terms(session_factory, log, user_id)
        result: R = run(self, update_steps(self.policy, session_id, terms, fn, attempts))
        return result

    async def aupdate(
        self,
        session_id: str,
        fn: Callable[[Any], R | Awaitable[R]],
        *,
        session_factory: Callable[[], Any] = AgentSession,
        log: str | None = "history",
        user_id: str | None = None,
        attempts: int = 50,
    ) -> R:
        """As :meth:`update`; ``fn`` may be a coroutine function."""
        terms: Terms[Any] = Terms(session_factory, log, user_id)
        result: R = await arun(self, update_steps(self.policy, session_id, terms, fn, attempts))
        return result


async def in_thread(fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``fn`` in a worker thread of the event loop that is running: asyncio's, or trio's."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        result: R = await trio.to_thread.run_sync(functools.partial(fn, *args, **kwargs))
        return result
    import asyncio

    return await asyncio.to_thread(fn, *args, **kwargs)
