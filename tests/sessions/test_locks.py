"""Locks whose holder dies, or works on after its lease."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from stateguard.errors import SessionConflict
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.steps import run
from tests.sessions.turns import load, texts

HOLDER = """
import sys, time
from stateguard.sessions import RedisStore, SQLiteStore

options = {"on_conflict": "lock", "lock_lease": 1.5, "lock_wait": 20}
kind, target = sys.argv[1:]
store = RedisStore(target, **options) if kind == "redis" else SQLiteStore(target, **options)

def work(session):
    session.add_message("user", "never saved")
    print("inside", flush=True)
    time.sleep(60)

store.update("s", lambda session: session.add_message("user", "saved") and None)
store.update("s", work)
"""


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_a_killed_worker_holds_the_lock_no_longer_than_its_lease(kind, request, tmp_path):
    target = request.getfixturevalue("redis_url") if kind == "redis" else str(tmp_path / "s.db")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, kind, target], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "inside\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    holder.stdout.close()
    from stateguard.sessions import RedisStore, SQLiteStore

    options = {"on_conflict": "lock", "lock_wait": 20}
    store = RedisStore(target, **options) if kind == "redis" else SQLiteStore(target, **options)
    store.update("s", lambda session: session.add_message("user", "next") and None)
    assert texts(store) == ["saved", "next"]
    store.close()


def test_a_holder_that_works_on_after_its_lease_overwrites_nothing(make_store):
    store = make_store(on_conflict="lock", lock_lease=0.2, lock_wait=10)
    store.update("s", lambda session: session.metadata.update(title="first"))
    slow = load(store)
    slow.session.metadata["title"] = "slow"
    slow.session.add_message("user", "slow")
    other = load(store)  # once the lease is over
    other.session.metadata["title"] = "other"
    run(store, other.save())
    with pytest.raises(SessionConflict, match=r"metadata\.title"):
        run(store, slow.save())
    run(store, other.unlock())
    run(store, slow.unlock())
    assert store.update("s", lambda session: session.metadata) == {"title": "other"}


def test_a_late_save_waits_for_whoever_holds_the_lock_now(make_store):
    store = make_store(on_conflict="lock", lock_lease=0.2, lock_wait=10)
    late = load(store)
    late.session.add_message("user", "late")
    other = Checkout("s", make_store(on_conflict="lock", lock_wait=10, lock_lease=30).policy, late.terms)
    run(store, other.open())
    steps = late.save()
    step = next(steps)
    refused = 0
    for _ in range(6):  # as often as it tries, while the other one works
        answer = do(store, step)
        refused += answer is False
        step = steps.send(answer)
    assert refused >= 2
    other.session.add_message("user", "other")
    run(store, other.save())
    run(store, other.unlock())
    answer = do(store, step)
    for _ in range(20):
        try:
            step = steps.send(answer)
        except StopIteration:
            break
        answer = do(store, step)
    assert texts(store) == ["other", "late"]


def do(store, step):
    if step.name == "sleep":
        return time.sleep(*step.args)
    return getattr(store, step.name)(*step.args, **(step.kwargs or {}))
