"""Sessions in one SQLite file, shared by the processes of one machine."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stateguard.errors import ConfigError, SessionRecordError, SessionStoreError
from stateguard.sessions.base import SessionStore
from stateguard.sessions.record import KEPT_TOKENS, Commit, Record

_SCHEMA = """
create table if not exists stateguard_sessions (
    id text primary key, version integer not null, epoch text not null, owner text, head text not null,
    length integer not null, bytes integer not null, ttl real, expires real, tokens text not null default ''
);
create index if not exists stateguard_expires on stateguard_sessions (expires) where expires is not null;
create table if not exists stateguard_log (
    id text not null, position integer not null, item text not null, primary key (id, position)
) without rowid;
create table if not exists stateguard_locks (id text primary key, token text not null, expires real not null);
"""

SWEEP_EVERY = 256
"""After how many commits of this process expired records are removed, and how many at a time."""

_inherited: list[sqlite3.Connection] = []
"""Connections that came with a fork. SQLite forbids using them in the child, and closing them there."""


class SQLiteStore(SessionStore):
    """Keeps sessions in the file ``path``, in WAL mode: any number of readers and one writer at a time.

    A save is one transaction. With ``durable=True`` (the default) it is on the disk before it counts as
    saved; ``durable=False`` still loses nothing when processes are killed, only when the machine goes down.
    ``timeout`` is how many seconds to wait for another process's transaction. The file must be on a local
    disk, since WAL does not work over a network. A new file can be read by this user only; make it beforehand
    to share it with others. The other options are those of :class:`SessionStore`.

    Connections are opened on demand, one per thread that is inside the store at the same time, and after a
    fork the child opens its own.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, durable: bool = True, timeout: float = 5.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.path = os.fspath(path)
        if self.path == ":memory:" or not self.path:
            raise ConfigError("SQLiteStore needs a file, because each thread opens it: use MemoryStore()")
        self.durable = durable
        self.timeout = timeout
        self._mutex = threading.Lock()
        self._free: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._commits = 0

    def read(self, session_id: str, *, window: int | None = None, start: int | None = None) -> Record | None:
        """The record; see :meth:`SessionStore.read`."""
        now = time.time()
        with self._connection(f"load session {session_id!r}") as db, _transaction(db, "deferred"):
            row = db.execute(
                "select version, epoch, owner, head, length, bytes, ttl, expires from stateguard_sessions "
                "where id = ? and (expires is null or expires > ?)",
                (session_id, now),
            ).fetchone()
            if row is None:
                return None
            version, epoch, owner, head, length, size, ttl, expires = row
            first = min(start, length) if start is not None else max(length - window, 0) if window else 0
            items = db.execute(
                "select item from stateguard_log where id = ? and position >= ? order by position",
                (session_id, first),
            ).fetchall()
            texts = [item for (item,) in items]
        if len(texts) != length - first or not isinstance(head, str) or set(map(type, texts)) - {str}:
            raise SessionRecordError(
                f"session {session_id!r} in {self.path} is damaged: {length - first} messages expected, "
                f"{len(texts)} found. It was left as it is; delete it to start afresh",
                session_id,
            )
        if ttl is not None and expires - now < 0.9 * ttl:
            # A write costs a transaction: the time to live is renewed when a tenth of it is over.
            self._write(
                f"renew session {session_id!r}",
                "update stateguard_sessions set expires = ? where id = ?",
                (now + ttl, session_id),
            )
        return Record(session_id, version, epoch, owner, head, f"[{','.join(texts)}]", first, length, size)

    def commit(self, commit: Commit) -> bool:
        """Compare and set in one transaction; see :meth:`SessionStore.commit`."""
        now = time.time()
        expires = None if commit.ttl is None else now + commit.ttl
        with self._connection(f"save session {commit.id!r}") as db, _transaction(db, "immediate"):
            row = db.execute(
                "select version, epoch, tokens from stateguard_sessions "
                "where id = ? and (expires is null or expires > ?)",
                (commit.id, now),
            ).fetchone()
            tokens = row[2].split() if row is not None else []
            if commit.token in tokens:
                return True
            held = db.execute(
                "select 1 from stateguard_locks where id = ? and token is not ? and expires > ?",
                (commit.id, commit.holder, now),
            ).fetchone()
            if held is not None:
                return False
            if row is None:
                if commit.version:
                    return False
                db.execute("delete from stateguard_log where id = ?", (commit.id,))  # an expired one's
            elif row[:2] != (commit.version, commit.epoch):
                return False
            else:
                db.execute(
                    "delete from stateguard_log where id = ? and position >= ?", (commit.id, commit.keep)
                )
            db.executemany(
                "insert into stateguard_log (id, position, item) values (?, ?, ?)",
                [(commit.id, position, item) for position, item in enumerate(commit.append, commit.keep)],
            )
            db.execute(
                "insert or replace into stateguard_sessions "
                "(id, version, epoch, owner, head, length, bytes, ttl, expires, tokens) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    commit.id,
                    commit.version + 1,
                    commit.epoch,
                    commit.owner,
                    commit.head,
                    commit.log_length,
                    commit.log_bytes,
                    commit.ttl,
                    expires,
                    " ".join([commit.token, *tokens][:KEPT_TOKENS]),
                ),
            )
            self._commits += 1
            if self._commits % SWEEP_EVERY == 0:
                _sweep(db, now)
        return True

    def delete(self, session_id: str, *, version: int | None = None, epoch: str = "") -> bool:
        """Remove the record; see :meth:`SessionStore.delete`."""
        with self._connection(f"delete session {session_id!r}") as db, _transaction(db, "immediate"):
            if version is not None:
                found = db.execute(
                    "select version, epoch from stateguard_sessions where id = ?", (session_id,)
                ).fetchone()
                if found != (version, epoch):
                    return False
            db.execute("delete from stateguard_log where id = ?", (session_id,))
            db.execute("delete from stateguard_sessions where id = ?", (session_id,))
        return True

    def acquire(self, session_id: str, token: str, lease: float) -> bool:
        """Take the lock; see :meth:`SessionStore.acquire`."""
        now = time.time()
        changed = self._write(
            f"lock session {session_id!r}",
            "insert into stateguard_locks (id, token, expires) values (?, ?, ?) "
            "on conflict (id) do update set token = excluded.token, expires = excluded.expires "
            "where expires <= ? or token = excluded.token",
            (session_id, token, now + lease, now),
        )
        return changed == 1

    def release(self, session_id: str, token: str) -> None:
        """Give the lock back, if ``token`` still holds it."""
        self._write(
            f"unlock session {session_id!r}",
            "delete from stateguard_locks where id = ? and token = ?",
            (session_id, token),
        )

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._mutex:
            self._check_fork()
            connections, self._free = self._free, []
        for connection in connections:
            connection.close()

    def __del__(self) -> None:
        # Python 3.13 warns about connections that are left to the garbage collector.
        if getattr(self, "_free", None) and self._pid == os.getpid():
            for connection in self._free:
                connection.close()

    def _write(self, purpose: str, sql: str, values: tuple[Any, ...]) -> int:
        with self._connection(purpose) as db, _transaction(db, "immediate"):
            return db.execute(sql, values).rowcount

    @contextmanager
    def _connection(self, purpose: str) -> Iterator[sqlite3.Connection]:
        """A connection for this thread alone; SQLite's errors become :class:`SessionStoreError`."""
        try:
            connection = self._take()
            try:
                yield connection
            except sqlite3.Error:
                connection.close()
                raise
            except BaseException:
                self._give(connection)
                raise
            self._give(connection)
        except sqlite3.Error as error:
            raise SessionStoreError(f"could not {purpose} in {self.path}: {_explain(error)}") from error

    def _take(self) -> sqlite3.Connection:
        with self._mutex:
            self._check_fork()
            if self._free:
                return self._free.pop()
        return self._open()

    def _give(self, connection: sqlite3.Connection) -> None:
        with self._mutex:
            self._free.append(connection)

    def _check_fork(self) -> None:
        if self._pid != os.getpid():
            _inherited.extend(self._free)
            self._free, self._pid = [], os.getpid()

    def _open(self) -> sqlite3.Connection:
        parent = Path(self.path).parent
        if not parent.is_dir():
            raise SessionStoreError(f"SQLiteStore({self.path!r}): the directory {parent} does not exist")
        if not Path(self.path).exists():
            with suppress(OSError):  # what is wrong with the place, SQLite says
                _make_private(self.path, parent)
        # Autocommit, with explicit transactions; handed from thread to thread, but used by one at a time.
        db = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(db)
            db.execute(f"pragma synchronous = {'full' if self.durable else 'normal'}")
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Switch a new file to WAL and make the tables.

        SQLite does not wait for other processes here, as it does elsewhere: of several that open a new file
        at the same moment, all but one get "database is locked" at once. So the waiting is done here.
        """
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                db.execute("pragma journal_mode = wal")
                db.executescript(_SCHEMA)
                if "tokens" not in {row[1] for row in db.execute("pragma table_info(stateguard_sessions)")}:
                    db.execute("alter table stateguard_sessions add column tokens text not null default ''")
                return
            except sqlite3.OperationalError as error:
                if db.in_transaction:
                    db.execute("rollback")
                if "duplicate column" in str(error):
                    return  # another process has just added it
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.005, 0.03))


def _make_private(path: str, directory: Path) -> None:
    """Make an empty file that only this user may read; SQLite gives the files beside it the same mode.

    Not by opening the path itself: a process that closes a file loses all its locks on it, and another thread
    may have opened the database meanwhile.
    """
    descriptor, name = tempfile.mkstemp(dir=directory)  # mode 0600
    try:
        os.close(descriptor)
        os.link(name, path)
    finally:
        os.unlink(name)


@contextmanager
def _transaction(db: sqlite3.Connection, kind: str) -> Iterator[None]:
    # "immediate" takes the write lock at once and waits for it; a reader turned writer may not wait at all.
    db.execute(f"begin {kind}")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    db.execute("commit")


def _sweep(db: sqlite3.Connection, now: float) -> None:
    expired = db.execute(
        "select id from stateguard_sessions where expires <= ? limit ?", (now, SWEEP_EVERY)
    ).fetchall()
    db.executemany("delete from stateguard_log where id = ?", expired)
    db.executemany("delete from stateguard_sessions where id = ?", expired)
    db.execute("delete from stateguard_locks where expires <= ?", (now,))


def _explain(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"{text}: another process held the file for longer than timeout="
    if "full" in text:
        return f"{text}. Nothing was changed; free space on that disk"
    if "not a database" in text or "malformed" in text:
        return f"{text}. It was left as it is; restore a backup or move it away"
    if "readonly" in text or "unable to open" in text:
        return f"{text}: the process needs to write the file and its directory"
    return text
