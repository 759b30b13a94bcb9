"""Conversations of many processes on one store, with killed workers and a restarted server: what is lost?

Run: ``python -m benchmarks.sessions`` (a quarter of an hour; ``--turns 16`` for a short one). Eight processes
take turns in fifty conversations, each adding one message, on the store of stateguard and, in the same run,
by the snippet that everybody copies (load, append, save). A process writes a message into its own log once
the store has confirmed it; at the end every confirmed message must be found in its conversation, exactly
once. Meanwhile workers are killed with SIGKILL and replaced, and redis-server is killed and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from stateguard import AgentSession
from stateguard.errors import SessionConflict, SessionStoreError
from stateguard.sessions import RedisStore, SessionStore, SQLiteStore
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.policy import Terms
from stateguard.sessions.steps import run
from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[1]

WORKERS = 8
CONVERSATIONS = 50


# -- one turn, by stateguard and by the snippet -------------------------------------------------------


def make_store(target: str, **options: Any) -> SessionStore:
    if target.startswith("redis"):
        return RedisStore(target, retries=8, **options)
    return SQLiteStore(target, timeout=30, **options)


def stateguard_turn(store: SessionStore, conversation: str, text: str) -> None:
    """What the middleware does around a request."""
    checkout = Checkout(conversation, store.policy, Terms(AgentSession, "history", None))
    run(store, checkout.open())
    checkout.session.add_message("user", text)
    run(store, checkout.save())


def snippet_turn_redis(client: Any, conversation: str, text: str) -> None:
    history = json.loads(client.get(f"snippet:{conversation}") or "[]")
    history.append({"role": "user", "content": text})
    client.set(f"snippet:{conversation}", json.dumps(history))


def snippet_turn_sqlite(db: sqlite3.Connection, conversation: str, text: str) -> None:
    row = db.execute("select history from snippet where id = ?", (conversation,)).fetchone()
    history = json.loads(row[0]) if row else []
    history.append({"role": "user", "content": text})
    db.execute("insert or replace into snippet values (?, ?)", (conversation, json.dumps(history)))
    db.commit()


# -- a worker process ---------------------------------------------------------------------------------


def work(kind: str, target: str, log_path: str, name: str, turns: int) -> None:
    """``turns`` turns in each conversation, in random order; confirmed messages go to the log."""
    plan = [conversation for conversation in range(CONVERSATIONS) for _ in range(turns)]
    random.Random(name).shuffle(plan)
    store = make_store(target) if kind == "stateguard" else None
    client: Any = None
    if kind == "snippet":
        if target.startswith("redis"):
            client = redis.Redis.from_url(target)
        else:
            client = sqlite3.connect(target, timeout=30)
    with open(log_path, "a", buffering=1) as log:
        for number, conversation in enumerate(plan):
            key, text = f"c{conversation}", f"{name}.{number}"
            for _ in range(200):
                try:
                    if store is not None:
                        stateguard_turn(store, key, text)
                    elif target.startswith("redis"):
                        snippet_turn_redis(client, key, text)
                    else:
                        snippet_turn_sqlite(client, key, text)
                except (SessionStoreError, SessionConflict, redis.RedisError, sqlite3.OperationalError):
                    # Not confirmed. A retry is another message: a client does not know whether it was kept.
                    text = f"{name}.{number}.{random.random()}"
                    time.sleep(0.05)
                    continue
                log.write(f"{key} {text}\n")
                break


def run_workers(
    kind: str, target: str, folder: Path, turns: int, server: RedisServer | None
) -> dict[str, float]:
    """All workers at once, with kills and a restart in between; counts and seconds."""

    def start(name: str) -> subprocess.Popen[bytes]:
        arguments = [kind, target, str(folder / f"{kind}.{name}.log"), name, str(turns)]
        return subprocess.Popen([sys.executable, "-m", "benchmarks.sessions", "--worker", *arguments])

    def has_confirmed(name: str) -> bool:
        log = folder / f"{kind}.{name}.log"
        return log.exists() and log.stat().st_size > 0

    started = time.monotonic()
    workers = {f"w{number}": start(f"w{number}") for number in range(WORKERS)}
    killed = restarts = 0
    rounds = 0
    while any(worker.poll() is None for worker in workers.values()):
        time.sleep(0.5)
        rounds += 1
        # A worker that has confirmed something: killing one that is still starting would prove nothing.
        alive = [name for name, worker in workers.items() if worker.poll() is None and has_confirmed(name)]
        if rounds % 4 == 2 and killed < 6 and alive:
            victim = alive[rounds % len(alive)]
            workers[victim].send_signal(signal.SIGKILL)
            workers[victim].wait()
            killed += 1
            replacement = f"r{killed}"
            workers[replacement] = start(replacement)
        if server is not None and rounds == 7:
            server.kill()
            server.start()
            restarts += 1
    seconds = time.monotonic() - started
    confirmed: dict[str, list[str]] = {}
    for path in folder.glob(f"{kind}.*.log"):
        for line in path.read_text().splitlines():
            key, _, text = line.partition(" ")
            if text:
                confirmed.setdefault(key, []).append(text)
    found = read_back(kind, target)
    lost = sum(len(set(texts) - set(found.get(key, ()))) for key, texts in confirmed.items())
    doubled = sum(len(texts) - len(set(texts)) for texts in found.values())
    total = sum(map(len, confirmed.values()))
    return {
        "confirmed": total,
        "lost": lost,
        "doubled": doubled,
        "killed": killed,
        "restarts": restarts,
        "seconds": seconds,
    }


def read_back(kind: str, target: str) -> dict[str, list[str]]:
    names = [f"c{number}" for number in range(CONVERSATIONS)]
    if kind == "stateguard":
        store = make_store(target)
        found = {
            name: store.update(name, lambda session: [message["content"] for message in session.history])
            for name in names
        }
        store.close()
        return found
    if target.startswith("redis"):
        with redis.Redis.from_url(target) as client:
            raw = {name: client.get(f"snippet:{name}") for name in names}
    else:
        with closing(sqlite3.connect(target)) as db:
            raw = dict(db.execute("select id, history from snippet").fetchall())
    return {name: [message["content"] for message in json.loads(text or "[]")] for name, text in raw.items()}


# -- the cost of a turn as the history grows ----------------------------------------------------------


def turn_cost(store: SessionStore, repeats: int = 15) -> float:
    times = []
    for number in range(repeats):
        started = time.perf_counter()
        stateguard_turn(store, "long", f"x{number}")
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def snippet_cost(target: str, length: int, repeats: int = 15) -> float:
    history = json.dumps([message(number) for number in range(length)])
    times = []
    if target.startswith("redis"):
        client: Any = redis.Redis.from_url(target)
        client.set("snippet:long", history)
        turn: Any = snippet_turn_redis
    else:
        client = sqlite3.connect(target)
        client.execute("insert or replace into snippet values ('long', ?)", (history,))
        client.commit()
        turn = snippet_turn_sqlite
    for number in range(repeats):
        started = time.perf_counter()
        turn(client, "long", f"x{number}")
        times.append(time.perf_counter() - started)
    client.close()
    return sorted(times)[len(times) // 2]


def message(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"message number {number}, of about the length that a question has"}


def cost_table(target: str) -> None:
    print(f"\n{'messages':>10}{'snippet':>12}{'stateguard':>14}{'window=50':>13}{'bytes sent by a save':>23}")
    for length in (10, 100, 1_000, 10_000):
        store = make_store(target)
        store.delete("long")
        store.update("long", lambda session, n=length: session.history.extend(map(message, range(n))))
        windowed = make_store(target, window=50)
        checkout = Checkout("long", store.policy, Terms(AgentSession, "history", None))
        run(store, checkout.open())
        checkout.session.add_message("user", "one more")
        head, items = checkout.pack()
        keep, append = checkout.changed_log(head, items)
        commit = checkout.commit(checkout.loaded, head, keep, append)
        size = len(commit.head) + sum(map(len, commit.append))
        costs = snippet_cost(target, length), turn_cost(store), turn_cost(windowed)
        print(f"{length:>10}" + "".join(f"{cost * 1e3:>10.2f} ms" for cost in costs) + f"{size:>20} B")
        store.close()
        windowed.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--turns", type=int, default=200, help="turns per conversation (all processes together)"
    )
    parser.add_argument("--only", choices=["redis", "sqlite"], help="one store only")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, target, log_path, name, turns = options.worker
        work(kind, target, log_path, name, int(turns))
        return
    share = max(options.turns // WORKERS, 1)
    print(
        f"{WORKERS} processes x {CONVERSATIONS} conversations x {share * WORKERS} turns each, "
        f"{os.cpu_count()} cores"
    )
    print(
        f"{'store':8}{'way':12}{'confirmed':>10}{'lost':>8}{'doubled':>9}{'killed':>8}{'restarts':>10}{'turns/s':>9}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder / "redis").start()
        lost_by_us = 0
        try:
            for store in ("redis", "sqlite"):
                if options.only not in (None, store):
                    continue
                target = server.url if store == "redis" else str(folder / "sessions.db")
                if store == "sqlite":
                    with closing(sqlite3.connect(target)) as db:
                        db.execute("pragma journal_mode = wal")
                        db.execute("create table snippet (id text primary key, history text)")
                for kind in ("snippet", "stateguard"):
                    place = folder / store
                    place.mkdir(exist_ok=True)
                    got = run_workers(kind, target, place, share, server if store == "redis" else None)
                    print(
                        f"{store:8}{kind:12}{got['confirmed']:>10.0f}{got['lost']:>8.0f}{got['doubled']:>9.0f}"
                        f"{got['killed']:>8.0f}{got['restarts']:>10.0f}"
                        f"{got['confirmed'] / got['seconds']:>9.0f}",
                        flush=True,
                    )
                    if kind == "stateguard":
                        lost_by_us += int(got["lost"] + got["doubled"])
            for store in ("redis", "sqlite"):
                if options.only in (None, store):
                    print(f"\nthe median turn on {store} as the history grows", end="")
                    cost_table(server.url if store == "redis" else str(folder / "sessions.db"))
        finally:
            server.stop()
    raise SystemExit(1 if lost_by_us else 0)


if __name__ == "__main__":
    main()
