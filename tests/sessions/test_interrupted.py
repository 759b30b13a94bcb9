"""Saves whose answer never came, and what the same request saves afterwards: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import random
import sqlite3

import pytest

from stateguard import AgentSession
from stateguard.errors import SessionConflict, SessionStoreError
from stateguard.sessions import MemoryStore, SQLiteStore
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.policy import Terms
from stateguard.sessions.record import Commit, new_token
from stateguard.sessions.steps import arun, run
from tests.sessions.turns import load, say, texts


def new(store, session_id="s"):
    return Checkout(session_id, store.policy, Terms(AgentSession, "history", None))


class Unlucky(MemoryStore):
    """A real store whose answer to chosen commits is lost: before it is applied, or after."""

    def __init__(self, *lost: str | None, **options) -> None:
        super().__init__(**options)
        self.lost = list(lost)

    def commit(self, commit):
        loses = self.lost.pop(0) if self.lost else None
        if loses != "question":
            applied = super().commit(commit)
        if loses:
            raise SessionStoreError("the connection broke", commit.id)
        return applied


@pytest.mark.parametrize("lost", ["question", "answer"])
def test_a_save_that_failed_is_saved_once_by_the_next(lost):
    store = Unlucky(lost)
    checkout = load(store)
    checkout.session.add_message("user", "1")
    checkout.session.tool_calls += 1
    with pytest.raises(SessionStoreError):
        run(store, checkout.save())
    checkout.session.add_message("user", "2")
    run(store, checkout.save())
    assert texts(store) == ["1", "2"]
    assert store.update("s", lambda s: s.tool_calls) == 1


@pytest.mark.parametrize("lost", ["question", "answer"])
def test_a_merge_that_failed_loses_nobodys_messages(lost):
    store = Unlucky()
    store.update("s", say("0"))
    mine, theirs = load(store), load(store)
    theirs.session.add_message("user", "theirs")
    run(store, theirs.save())
    mine.session.add_message("user", "mine")
    mine.session.tool_calls += 1
    store.lost = [None, lost]
    with pytest.raises(SessionStoreError):
        run(store, mine.save())
    mine.session.add_message("user", "more")
    run(store, mine.save())
    assert texts(store) == ["0", "theirs", "mine", "more"]
    assert [m["content"] for m in mine.session.history] == texts(store)
    assert store.update("s", lambda s: s.tool_calls) == 1


def test_others_save_between_the_lost_answer_and_the_repetition():
    store = Unlucky("answer")
    checkout = load(store)
    checkout.session.add_message("user", "1")
    with pytest.raises(SessionStoreError):
        run(store, checkout.save())
    for number in range(10):
        store.update("s", say(f"other {number}"))
    checkout.session.add_message("user", "2")
    run(store, checkout.save())
    assert texts(store) == ["1", *(f"other {number}" for number in range(10)), "2"]


def test_what_the_request_does_while_it_saves_is_kept():
    """Another task of the same request goes on during the save, which turns out to be a merge."""
    store = MemoryStore()
    store.update("s", say("0"))
    mine = load(store)
    store.update("s", say("theirs"))
    mine.session.add_message("user", "mine")
    steps = mine.save()
    answer = None
    for name in ("commit", "read", "commit"):
        step = steps.send(answer)
        assert step.name == name
        if name == "read":
            mine.session.add_message("assistant", "meanwhile")
        answer = getattr(store, name)(*step.args, **(step.kwargs or {}))
    with pytest.raises(StopIteration):
        steps.send(answer)
    assert [m["content"] for m in mine.session.history] == ["0", "theirs", "mine", "meanwhile"]
    run(store, mine.save())
    assert texts(store) == ["0", "theirs", "mine", "meanwhile"]


def test_a_contradiction_that_arises_during_a_merge_is_a_conflict_and_stays_one():
    store = MemoryStore()
    store.update("s", lambda s: s.metadata.update(title="0"))
    mine = load(store)
    store.update("s", lambda s: s.metadata.update(title="theirs"))
    mine.session.add_message("user", "mine")
    steps = mine.save()
    assert next(steps).name == "commit"
    assert steps.send(False).name == "read"
    mine.session.metadata["title"] = "meanwhile"
    step = steps.send(store.read("s"))
    assert step.name == "commit"
    with pytest.raises(SessionConflict, match=r"metadata\.title"):
        steps.send(store.commit(*step.args))
    for _ in range(2):
        with pytest.raises(SessionConflict, match=r"metadata\.title"):
            run(store, mine.save())
    assert texts(store) == ["mine"]
    assert store.update("s", lambda s: s.metadata) == {"title": "theirs"}


def test_a_commit_sent_twice_is_applied_once(make_store):
    store = make_store()
    head = '{"format":1,"fields":{}}'
    first = Commit("s", 0, "epoch", None, head, 0, ('{"n":1}',), 7, 60, new_token())
    assert store.commit(first)
    assert store.commit(first)
    for version in range(1, 20):
        assert store.commit(Commit("s", version, "epoch", None, head, version, ("0",), 9, 60, new_token()))
    assert store.commit(first)  # as often as it is sent, and whatever came between
    assert store.read("s").version == 20
    assert not store.commit(Commit("s", 0, "epoch", None, head, 0, (), 0, 60, new_token()))


def test_cancelled_saves_are_neither_doubled_nor_lost(make_store):
    store = make_store()
    chance = random.Random(11)

    async def main():
        cancelled = 0
        for number in range(40):
            checkout = new(store, f"s{number}")
            await arun(store, checkout.open())
            checkout.session.add_message("user", "1")
            checkout.session.tool_calls += 1
            task = asyncio.create_task(arun(store, checkout.save()))
            await asyncio.sleep(chance.random() * 0.003)
            task.cancel()
            cancelled += isinstance(
                (await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError
            )
            checkout.session.add_message("user", "2")
            await arun(store, checkout.save())
            found = await store.aupdate(
                f"s{number}", lambda s: ([m["content"] for m in s.history], s.tool_calls)
            )
            assert found == (["1", "2"], 1)
        await store.aclose()
        return cancelled

    cancelled = asyncio.run(main())
    assert cancelled > 0 or make_store.kind == "memory"


def test_files_of_an_older_version_are_brought_up_to_date(tmp_path):
    path = tmp_path / "old.db"
    store = SQLiteStore(path)
    store.update("s", say("1"))
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("alter table stateguard_sessions drop column tokens")
    db.close()
    store = SQLiteStore(path)
    store.update("s", say("2"))
    assert texts(store) == ["1", "2"]
    store.close()
