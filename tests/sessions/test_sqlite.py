"""The SQLite store when things go wrong: locked, full, damaged, killed, forked."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from stateguard import AgentSession
from stateguard.errors import ConfigError, SessionRecordError, SessionStoreError
from stateguard.sessions import SQLiteStore
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.policy import Terms
from stateguard.sessions.steps import run
from tests.sessions.turns import say, texts


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path):
    store = SQLiteStore(path, timeout=0.3)
    yield store
    store.close()


def test_locked_by_another_program(store, path):
    store.update("s", say("1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(SessionStoreError, match="timeout="):
        store.update("s", say("2"))
    other.execute("rollback")
    other.close()
    store.update("s", say("3"))
    assert texts(store) == ["1", "3"]


def test_disk_full_changes_nothing(store, path):
    store.update("s", say("1"))
    with store._connection("limit") as db:
        pages = db.execute("pragma page_count").fetchone()[0]
        db.execute(f"pragma max_page_count = {pages + 1}")  # a full disk, without one
    with pytest.raises(SessionStoreError, match=r"full.*free space"):
        store.update("s", say("x" * 1_000_000))
    store.close()
    assert texts(store) == ["1"]
    store.update("s", say("2"))
    assert texts(store) == ["1", "2"]


@pytest.mark.parametrize(
    "damage",
    [
        "update stateguard_sessions set head = 'not json'",
        "update stateguard_sessions set head = x'ff00'",
        """update stateguard_sessions set head = '{"format": 2, "fields": {}}'""",
        "update stateguard_log set item = 'not json'",
        "update stateguard_log set item = x'ff'",
        "delete from stateguard_log",
    ],
)
def test_a_damaged_record_is_reported_and_left_as_it_is(store, path, damage):
    store.update("s", say("1"))
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    with pytest.raises(SessionRecordError, match="'s'"):
        store.update("s", say("2"))
    with sqlite3.connect(path) as db:
        assert db.execute("select version from stateguard_sessions").fetchone() == (1,)
    db.close()
    store.delete("s")
    store.update("s", say("new"))
    assert texts(store) == ["new"]


def test_not_a_database(path):
    path.write_bytes(b"This is a text file, and rather a long one at that. " * 100)
    before = path.read_bytes()
    store = SQLiteStore(path)
    with pytest.raises(SessionStoreError, match="move it away"):
        store.update("s", say("1"))
    assert path.read_bytes() == before
    store.close()


def test_places_that_can_not_work(tmp_path):
    with pytest.raises(ConfigError, match="MemoryStore"):
        SQLiteStore(":memory:")
    with pytest.raises(SessionStoreError, match="does not exist"):
        SQLiteStore(tmp_path / "missing" / "x.db").update("s", say("1"))


def test_only_this_user_may_read_what_is_kept(store, path):
    store.update("s", say("private"))
    files = sorted(path.parent.glob("sessions.db*"))
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


AS_NOBODY = """
import os, sys
from stateguard.sessions import SQLiteStore
from stateguard.errors import SessionStoreError
import stateguard.sessions.sqlite, sqlite3, encodings.idna
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
store = SQLiteStore(sys.argv[1])
try:
    store.update("s", lambda session: session.add_message("user", "x"))
except SessionStoreError as error:
    print(error)
"""


@pytest.mark.parametrize("has_file", [False, True])
def test_a_directory_that_may_not_be_written(path, tmp_path, has_file):
    folder = tmp_path / "readonly"
    folder.mkdir()
    if has_file:
        store = SQLiteStore(folder / "s.db")
        store.update("s", say("1"))
        store.close()
        (folder / "s.db").chmod(0o444)
    folder.chmod(0o555)
    parents = [parent for parent in folder.parents if parent.stat().st_uid == os.getuid()]
    modes = [parent.stat().st_mode for parent in parents]
    try:
        for parent, mode in zip(parents, modes, strict=True):
            parent.chmod(mode | 0o011)  # pytest keeps its directories to itself
        command = [sys.executable, "-c", AS_NOBODY, str(folder / "s.db")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    finally:
        for parent, mode in zip(parents, modes, strict=True):
            parent.chmod(mode)
        folder.chmod(0o755)
    assert "needs to write the file and its directory" in done.stdout, done
    if has_file:
        store = SQLiteStore(folder / "s.db")
        (folder / "s.db").chmod(0o644)
        assert texts(store) == ["1"]
        store.close()


UNTIL_FULL = """
import resource, signal, sys
from stateguard.sessions import SQLiteStore
from stateguard.errors import SessionStoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
store = SQLiteStore(sys.argv[1])
for number in range(100_000):
    try:
        store.update("s", lambda session: session.add_message("user", f"{number} " + "x" * 2000))
    except SessionStoreError as error:
        print(error)
        break
    print(number, flush=True)
"""


def test_a_file_system_that_takes_no_more(path):
    """Writes fail in the middle of the write-ahead log: what was acknowledged is there, whole."""
    command = [sys.executable, "-c", UNTIL_FULL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    *acknowledged, error = done.stdout.splitlines()
    assert error.startswith("could not save session 's'"), done
    assert len(acknowledged) > 10
    store = SQLiteStore(path)
    assert [text.split()[0] for text in texts(store)] == acknowledged
    store.update("s", say("room again"))
    store.close()


def test_a_clock_that_jumps_ends_leases_but_overwrites_nothing(path, monkeypatch):
    store = SQLiteStore(path, on_conflict="lock", lock_lease=60, lock_wait=0.2, ttl=None)
    holder = Checkout("s", store.policy, Terms(AgentSession, "history", None))
    run(store, holder.open())
    holder.session.add_message("user", "holder")
    monkeypatch.setattr("stateguard.sessions.sqlite.time.time", lambda clock=time.time: clock() + 3600)
    store.update("s", say("other"))
    monkeypatch.undo()
    run(store, holder.save())
    run(store, holder.unlock())
    assert texts(store) == ["other", "holder"]
    store.close()


WRITER = """
import sys
from stateguard.sessions import SQLiteStore
store = SQLiteStore(sys.argv[1])
for n in range(100_000):
    store.update("s", lambda session: session.add_message("user", f"{sys.argv[2]}.{n}"))
    print(n, flush=True)
"""


def test_killed_writers_lose_nothing_acknowledged_and_leave_no_lock(store, path):
    acknowledged: list[set[str]] = []
    store.policy
    for name in ("a", "b"):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(WRITER), str(path), f"{name}{number}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        started = [writer.stdout.readline() for writer in writers]
        time.sleep(0.5)
        for number, writer in enumerate(writers):
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split("\n")
            writer.stdout.close()
            writer.wait(10)
            said = {f"{name}{number}.{line}" for line in lines[:-1] if line}
            acknowledged.append({f"{name}{number}.0", *said})
        assert started == ["0\n", "0\n"]
    store = SQLiteStore(path, timeout=5)
    found = texts(store)
    assert len(found) == len(set(found))
    for said in acknowledged:
        assert said <= set(found)
    assert sum(map(len, acknowledged)) > len(acknowledged)
    store.update("s", say("after"))
    store.close()


def test_a_forked_child_opens_its_own_connections(store, path):
    store.update("s", say("parent"))
    program = f"""
    import os, sys
    from stateguard.sessions import SQLiteStore
    store = SQLiteStore({str(path)!r})
    store.update("s", lambda s: s.add_message("user", "before"))
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                for turn in range(5):
                    store.update("s", lambda s: s.add_message("user", f"{{number}}.{{turn}}"))
                os._exit(0)
            except BaseException as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(1)
        children.append(pid)
    store.update("s", lambda s: s.add_message("user", "after"))
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
    store.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(texts(store)) == 1 + 1 + 15 + 1


def test_opening_a_new_file_waits_for_another_process_that_does_the_same(path):
    """Switching a file to WAL while another connection has begun to write fails at once: no busy timeout."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("create table theirs (x)")
    other.execute("begin immediate")
    impatient = SQLiteStore(path, timeout=0.1)
    with pytest.raises(SessionStoreError, match="timeout="):
        impatient.update("s", say("x"))
    store = SQLiteStore(path, timeout=20)
    thread = threading.Thread(target=store.update, args=("s", say("1")))
    thread.start()
    time.sleep(0.3)
    other.execute("rollback")
    thread.join(20)
    other.close()
    assert texts(store) == ["1"]
    store.close()


def test_expired_records_are_swept(path):
    store = SQLiteStore(path, ttl=0.05, durable=False)
    for number in range(20):
        store.update(f"s{number}", say("x"))
    time.sleep(0.1)
    for turn in range(260):
        store.update("other", say(str(turn)))
    with store._connection("count") as db:
        assert db.execute("select count(*) from stateguard_sessions").fetchone() == (1,)
        assert db.execute("select count(distinct id) from stateguard_log").fetchone() == (1,)
    store.close()


def test_connections_are_reused_and_few(store):
    def work():
        for _ in range(10):
            store.read("s")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 1 <= len(store._free) <= 8
