"""Sessions in this process's memory: for tests, demos and single-process services."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from stateguard.sessions.base import DAY, OnConflict, SessionStore
from stateguard.sessions.merge import Rule
from stateguard.sessions.record import KEPT_TOKENS, Commit, Record

SWEEP_EVERY = 256


@dataclass(slots=True)
class _Kept:
    version: int
    epoch: str
    owner: str | None
    head: str
    log: list[str]
    log_bytes: int
    expires: float | None
    ttl: float | None
    tokens: deque[str]


class MemoryStore(SessionStore):
    """Keeps sessions in memory; they go with the process, and other processes do not see them.

    Sessions are kept as text and made anew for each request, so no object is shared between requests. Safe to
    use from several threads and event loops.
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
        super().__init__(
            ttl=ttl,
            on_conflict=on_conflict,
            merge=merge,
            max_bytes=max_bytes,
            window=window,
            lock_lease=lock_lease,
            lock_wait=lock_wait,
        )
        self._mutex = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._locks: dict[str, tuple[str, float]] = {}
        self._commits = 0

    def __len__(self) -> int:
        with self._mutex:
            self._sweep()
            return len(self._kept)

    def read(self, session_id: str, *, window: int | None = None, start: int | None = None) -> Record | None:
        """The record; see :meth:`SessionStore.read`."""
        with self._mutex:
            kept = self._live(session_id)
            if kept is None:
                return None
            if kept.ttl is not None:
                kept.expires = time.monotonic() + kept.ttl
            length = len(kept.log)
            first = min(start, length) if start is not None else max(length - window, 0) if window else 0
            items = kept.log[first:]
            return Record(
                session_id,
                kept.version,
                kept.epoch,
                kept.owner,
                kept.head,
                f"[{','.join(items)}]",
                first,
                length,
                kept.log_bytes,
            )

    def commit(self, commit: Commit) -> bool:
        """Compare and set; see :meth:`SessionStore.commit`."""
        with self._mutex:
            self._commits += 1
            if self._commits % SWEEP_EVERY == 0:
                self._sweep()
            kept = self._live(commit.id)
            if kept is not None and commit.token in kept.tokens:
                return True
            holder = self._locks.get(commit.id)
            if holder is not None and holder[0] != commit.holder and holder[1] > time.monotonic():
                return False
            if (0 if kept is None else kept.version) != commit.version:
                return False
            if kept is None:
                kept = self._kept[commit.id] = _Kept(
                    0, commit.epoch, None, "", [], 0, None, None, deque(maxlen=KEPT_TOKENS)
                )
            elif kept.epoch != commit.epoch:
                return False
            del kept.log[commit.keep :]
            kept.log.extend(commit.append)
            kept.version += 1
            kept.tokens.append(commit.token)
            kept.owner, kept.head, kept.log_bytes = commit.owner, commit.head, commit.log_bytes
            kept.ttl = commit.ttl
            kept.expires = None if commit.ttl is None else time.monotonic() + commit.ttl
            return True

    def delete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """Remove the record; see :meth:`SessionStore.delete`."""
        with self._mutex:
            kept = self._kept.get(session_id)
            if version is not None and (kept is None or (kept.version, kept.epoch) != (version, epoch)):
                return False
            self._kept.pop(session_id, None)
            return True

    def acquire(self, session_id: str, token: str, lease: float) -> bool:
        """Take the lock; see :meth:`SessionStore.acquire`."""
        now = time.monotonic()
        with self._mutex:
            holder = self._locks.get(session_id)
            if holder is not None and holder[1] > now and holder[0] != token:
                return False
            self._locks[session_id] = (token, now + lease)
            return True

    def release(self, session_id: str, token: str) -> None:
        """Give the lock back, if ``token`` still holds it."""
        with self._mutex:
            if self._locks.get(session_id, ("", 0.0))[0] == token:
                del self._locks[session_id]

    # Nothing here waits, so there is no need for a worker thread.

    async def aread(
        self, session_id: str, *, window: int | None = None, start: int | None = None
    ) -> Record | None:
        """As :meth:`read`."""
        return self.read(session_id, window=window, start=start)

    async def acommit(self, commit: Commit) -> bool:
        """As :meth:`commit`."""
        return self.commit(commit)

    async def adelete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """As :meth:`delete`."""
        return self.delete(session_id, version=version, epoch=epoch)

    async def aacquire(self, session_id: str, token: str, lease: float) -> bool:
        """As :meth:`acquire`."""
        return self.acquire(session_id, token, lease)

    async def arelease(self, session_id: str, token: str) -> None:
        """As :meth:`release`."""
        self.release(session_id, token)

    async def aclose(self) -> None:
        """As :meth:`close`."""

    def _live(self, session_id: str) -> _Kept | None:
        kept = self._kept.get(session_id)
        if kept is not None and kept.expires is not None and kept.expires <= time.monotonic():
            del self._kept[session_id]
            return None
        return kept

    def _sweep(self) -> None:
        now = time.monotonic()
        for session_id in [k for k, v in self._kept.items() if v.expires is not None and v.expires <= now]:
            del self._kept[session_id]
        for session_id in [k for k, v in self._locks.items() if v[1] <= now]:
            del self._locks[session_id]
