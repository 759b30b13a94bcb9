"""Sessions in Redis: for services of many processes and machines."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from stateguard.errors import ConfigError, SessionRecordError, SessionStoreError
from stateguard.sessions import redis_scripts as scripts
from stateguard.sessions.base import SessionStore, in_thread
from stateguard.sessions.record import Commit, Record, new_token
from stateguard.sessions.redis_clients import Clients
from stateguard.sessions.redis_url import parse, redacted

log = logging.getLogger("stateguard.sessions")


class RedisStore(SessionStore):
    """Keeps sessions in the Redis that ``url`` names (see :mod:`stateguard.sessions.redis_url`).

    ``timeout`` is the longest wait for one answer in seconds, ``retries`` how often a command is repeated
    after a broken connection; a commit that is repeated is applied once. ``replicas`` makes a save wait until
    so many replicas have it, so that a failover loses nothing confirmed. ``prefix`` begins every key.
    ``client_options`` go to redis-py. The other options are those of :class:`SessionStore`.

    Needs the package redis: ``pip install 'stateguard-middleware[redis]'``. Whether confirmed sessions
    survive a crash of the server is the server's setting: ``appendonly yes``, and ``appendfsync always`` to
    lose not even the last second.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "stateguard:",
        timeout: float = 2.0,
        retries: int = 3,
        replicas: int = 0,
        client_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        try:
            import redis
            import redis.asyncio
        except ImportError as error:
            raise ConfigError(
                "RedisStore needs the package redis: pip install 'stateguard-middleware[redis]'"
            ) from error
        if "{" in prefix or "}" in prefix:
            raise ConfigError(f"RedisStore(prefix={prefix!r}): braces are for Redis Cluster's hash tags")
        self.target = parse(url)
        self.prefix = prefix
        self.timeout = timeout
        self.replicas = replicas
        self._redis: Any = redis
        self._knows_server = False
        # A cluster's own errors are no RedisError; ValueError is what a reply that can not be read becomes.
        self._errors: tuple[type[Exception], ...] = (
            redis.exceptions.RedisError,
            redis.exceptions.RedisClusterException,
            OSError,
            ValueError,
        )
        self._clients = Clients(self.target, timeout, retries, client_options or {})

    def __repr__(self) -> str:
        return f"RedisStore({redacted(self.target.url)!r})"

    def key(self, session_id: str, kind: str = "session") -> str:
        """The Redis key; its hash tag keeps all keys of one session on one node of a cluster."""
        return f"{self.prefix}{{{quote(session_id, safe='')}}}:{kind}"

    def _both(self, session_id: str) -> tuple[str, str]:
        return self.key(session_id), self.key(session_id, "lock")

    def read(self, session_id: str, *, window: int | None = None, start: int | None = None) -> Record | None:
        """The record; see :meth:`SessionStore.read`."""
        reply = self._run(scripts.READ, (self.key(session_id),), _part(window, start), "load", session_id)
        return _record(session_id, reply)

    def commit(self, commit: Commit) -> bool:
        """Compare and set in one script; see :meth:`SessionStore.commit`."""
        reply = self._run(scripts.COMMIT, self._both(commit.id), _commit(commit), "save", commit.id)
        applied = _applied(commit, reply)
        if applied:
            self._await_replicas(commit.id)
            if not self._knows_server:
                self._knows_server = True
                with suppress(*self._errors):
                    node = self._clients.node(self._clients.plain(), self.key(commit.id))
                    self._warn_of_eviction(node.execute_command("INFO", "memory"))
        return applied

    def delete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """Remove the record; see :meth:`SessionStore.delete`."""
        arguments = ("" if version is None else version, epoch)
        reply = self._run(scripts.DELETE, (self.key(session_id),), arguments, "delete", session_id)
        if reply[0] == 1:
            self._await_replicas(session_id)
        return bool(reply[0] == 1)

    def acquire(self, session_id: str, token: str, lease: float) -> bool:
        """Take the lock; see :meth:`SessionStore.acquire`."""
        arguments = (token, _milliseconds(lease))
        reply = self._run(scripts.ACQUIRE, (self.key(session_id, "lock"),), arguments, "lock", session_id)
        return bool(reply[0] == 1)

    def release(self, session_id: str, token: str) -> None:
        """Give the lock back, if ``token`` still holds it."""
        self._run(scripts.RELEASE, (self.key(session_id, "lock"),), (token,), "unlock", session_id)

    def close(self) -> None:
        """Close the connections of plain calls; :meth:`aclose` closes those of the running event loop."""
        self._clients.close()

    async def aread(
        self, session_id: str, *, window: int | None = None, start: int | None = None
    ) -> Record | None:
        """As :meth:`read`."""
        reply = await self._arun(
            scripts.READ, (self.key(session_id),), _part(window, start), "load", session_id
        )
        return _record(session_id, reply)

    async def acommit(self, commit: Commit) -> bool:
        """As :meth:`commit`."""
        reply = await self._arun(scripts.COMMIT, self._both(commit.id), _commit(commit), "save", commit.id)
        applied = _applied(commit, reply)
        if applied:
            await self._aawait_replicas(commit.id)
            if not self._knows_server and _in_asyncio():
                self._knows_server = True
                with suppress(*self._errors):
                    node = self._clients.node(self._clients.of_loop(), self.key(commit.id))
                    self._warn_of_eviction(await node.execute_command("INFO", "memory"))
        return applied

    async def adelete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """As :meth:`delete`."""
        arguments = ("" if version is None else version, epoch)
        reply = await self._arun(scripts.DELETE, (self.key(session_id),), arguments, "delete", session_id)
        if reply[0] == 1:
            await self._aawait_replicas(session_id)
        return bool(reply[0] == 1)

    async def aacquire(self, session_id: str, token: str, lease: float) -> bool:
        """As :meth:`acquire`."""
        keys, arguments = (self.key(session_id, "lock"),), (token, _milliseconds(lease))
        reply = await self._arun(scripts.ACQUIRE, keys, arguments, "lock", session_id)
        return bool(reply[0] == 1)

    async def arelease(self, session_id: str, token: str) -> None:
        """As :meth:`release`."""
        await self._arun(scripts.RELEASE, (self.key(session_id, "lock"),), (token,), "unlock", session_id)

    async def aclose(self) -> None:
        """Close the connections that the running event loop has."""
        await self._clients.aclose()

    # Scripts are called by their hash; a server that does not know one (restarted) gets its text.

    def _run(
        self, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...], verb: str, session_id: str
    ) -> list[Any]:
        nonce = new_token()
        try:
            reply = self._call(
                verb, session_id, ("EVALSHA", _sha(script), len(keys), *keys, nonce, *arguments)
            )
        except self._redis.exceptions.NoScriptError:
            reply = self._call(verb, session_id, ("EVAL", script, len(keys), *keys, nonce, *arguments))
        if not _is_answer(reply, nonce):
            self.close()
            raise self._foreign(verb, session_id)
        return list(reply[1:])

    async def _arun(
        self, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...], verb: str, session_id: str
    ) -> list[Any]:
        if not _in_asyncio():
            return await in_thread(self._run, script, keys, arguments, verb, session_id)
        nonce = new_token()
        try:
            reply = await self._acall(
                verb, session_id, ("EVALSHA", _sha(script), len(keys), *keys, nonce, *arguments)
            )
        except self._redis.exceptions.NoScriptError:
            reply = await self._acall(verb, session_id, ("EVAL", script, len(keys), *keys, nonce, *arguments))
        if not _is_answer(reply, nonce):
            await self.aclose()
            raise self._foreign(verb, session_id)
        return list(reply[1:])

    def _call(self, verb: str, session_id: str, command: tuple[Any, ...]) -> Any:
        try:
            return self._clients.plain().execute_command(*command)
        except self._redis.exceptions.NoScriptError:
            raise
        except self._errors as error:
            raise self._failure(verb, session_id, error) from error

    async def _acall(self, verb: str, session_id: str, command: tuple[Any, ...]) -> Any:
        if not _in_asyncio():
            return await in_thread(self._call, verb, session_id, command)
        try:
            return await self._clients.of_loop().execute_command(*command)
        except self._redis.exceptions.NoScriptError:
            raise
        except self._errors as error:
            raise self._failure(verb, session_id, error) from error

    # WAIT tells how many replicas have what *its own connection* had seen written, and answers at once on a
    # connection of the pool that has idled since. A read right before it, on the same connection, makes it
    # count everything written so far, the commit included.

    def _await_replicas(self, session_id: str) -> None:
        if not self.replicas:
            return
        try:
            with self._clients.node(self._clients.plain(), self.key(session_id)).pipeline(
                transaction=False
            ) as pipe:
                reached = self._queue_wait(pipe, session_id).execute()[1]
        except self._errors as error:
            raise self._failure("wait for replicas of", session_id, error) from error
        self._check_replicas(session_id, reached)

    async def _aawait_replicas(self, session_id: str) -> None:
        if not self.replicas:
            return
        if not _in_asyncio():
            await in_thread(self._await_replicas, session_id)
            return
        try:
            async with self._clients.node(self._clients.of_loop(), self.key(session_id)).pipeline(
                transaction=False
            ) as pipe:
                reached = (await self._queue_wait(pipe, session_id).execute())[1]
        except self._errors as error:
            raise self._failure("wait for replicas of", session_id, error) from error
        self._check_replicas(session_id, reached)

    def _queue_wait(self, pipe: Any, session_id: str) -> Any:
        pipe.execute_command("EXISTS", self.key(session_id))
        pipe.execute_command("WAIT", self.replicas, max(int(self.timeout * 500), 1))
        return pipe

    def _check_replicas(self, session_id: str, reached: Any) -> None:
        if not isinstance(reached, int) or reached < self.replicas:
            raise SessionStoreError(
                f"session {session_id!r}: saved by {self!r}, but {reached} of replicas={self.replicas} have "
                "confirmed it in time. It may be lost if the server fails now",
                session_id,
            )

    def _warn_of_eviction(self, info: Any) -> None:
        """Say so, once, if the server drops sessions when its memory is full: no client can notice that."""
        policy = info.get("maxmemory_policy") if isinstance(info, dict) else None
        if policy not in {None, "noeviction"} and info.get("maxmemory"):
            log.warning(
                "%r drops keys when its memory is full (maxmemory-policy %s): sessions will vanish without a "
                "trace. Give sessions a server with maxmemory-policy noeviction, which refuses instead",
                self,
                policy,
            )

    def _failure(self, verb: str, session_id: str, error: Exception) -> Exception:
        text = str(error) or type(error).__name__
        if "WRONGTYPE" in text:
            return SessionRecordError(
                f"could not {verb} session {session_id!r}: {self.key(session_id)} in {self!r} is not a "
                "session. It was left as it is; use another prefix=",
                session_id,
            )
        hint = ""
        if isinstance(error, self._redis.exceptions.OutOfMemoryError) or "OOM" in text:
            hint = ". The server is out of memory; what was stored before is unchanged"
        elif isinstance(error, self._redis.exceptions.TimeoutError):
            hint = f" (timeout={self.timeout:g} s)"
        return SessionStoreError(
            f"could not {verb} session {session_id!r} in {self!r}: {text}{hint}", session_id
        )

    def _foreign(self, verb: str, session_id: str) -> SessionStoreError:
        return SessionStoreError(
            f"could not {verb} session {session_id!r}: {self!r} gave an answer that belongs to no question "
            "asked here. The connections were closed",
            session_id,
        )


def _in_asyncio() -> bool:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # trio
        return False
    return True


def _sha(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _is_answer(reply: Any, nonce: str) -> bool:
    return isinstance(reply, list) and len(reply) > 1 and reply[0] in {nonce, nonce.encode()}


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 1)


def _part(window: int | None, start: int | None) -> tuple[Any, ...]:
    if start is not None:
        return ("start", start)
    return ("window", window) if window is not None else ("all", 0)


def _commit(commit: Commit) -> tuple[Any, ...]:
    return (
        commit.token,
        commit.version,
        commit.epoch,
        commit.keep,
        commit.head,
        commit.log_bytes,
        "" if commit.owner is None else f"={commit.owner}",
        "" if commit.ttl is None else _milliseconds(commit.ttl),
        commit.holder or "",
        *commit.append,
    )


def _applied(commit: Commit, reply: list[Any]) -> bool:
    if reply[0] == 2:
        raise SessionRecordError(
            f"the history of session {commit.id!r} has {reply[1]} messages, not {commit.keep} or more. "
            "It was left as it is; delete the session to start afresh",
            commit.id,
        )
    return bool(reply[0] == 1)


def _record(session_id: str, reply: list[Any]) -> Record | None:
    if reply[0] == 0:
        return None
    try:
        if reply[0] == 1:
            _, version, epoch, owner, head, first, length, size, items = map(_decoded, reply)
            return Record(
                session_id, int(version), epoch, owner, head, items, int(first), int(length), int(size)
            )
        reason = f"message {_decoded(reply[1])} of {reply[2]} is missing"
    except (ValueError, TypeError) as error:
        reason = repr(error)
    raise SessionRecordError(
        f"the record of session {session_id!r} is damaged: {reason}. It was left as it is; delete it to "
        "start afresh",
        session_id,
    )


def _decoded(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value
