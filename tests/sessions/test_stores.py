"""What every store has to do, plain and asynchronous."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
import time
import uuid
from decimal import Decimal

import pytest
import trio

from stateguard import AgentSession
from stateguard.errors import (
    ConfigError,
    SessionConflict,
    SessionDenied,
    SessionIdRefused,
    SessionLocked,
    SessionTooLarge,
)
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.policy import Terms
from stateguard.sessions.steps import arun, run
from tests.sessions.turns import load, save, say, texts


def test_a_session_comes_back_as_it_was(make_store):
    store = make_store()

    def fill(session):
        session.add_message("user", "hé ☃ \ud800 \x00")
        session.record_tool_call("t", {"n": 1.5}, name="search")
        session.metadata = {
            "decimal": Decimal("1.10"),
            "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "date": datetime.date(2026, 1, 2),
            "wait": datetime.timedelta(days=1, microseconds=3),
            "id": uuid.UUID(int=5),
            "raw": b"\x00\xff",
            "pair": (1, (2,)),
            "set": {1, 2},
            "numbers": {1: "one", (2, 3): "pair"},
            "$": "dollar",
            "nan": float("inf"),
            "none": None,
            "big": 2**70,
        }
        session.cost += Decimal("0.006015")
        session.usage.input += 7

    store.update("s", fill)
    fresh = AgentSession("s")
    fill(fresh)
    assert load(store).session == fresh
    assert isinstance(load(store).session.cost, Decimal)


def test_unchanged_sessions_are_not_written(make_store):
    store = make_store()
    checkout = load(store)
    assert checkout.is_new
    assert save(store, checkout) is False
    assert store.read("s") is None
    store.update("s", say("a"))
    checkout = load(store)
    assert not checkout.is_new
    assert save(store, checkout) is False
    assert store.read("s").version == 1


def test_a_turn_writes_what_it_appends_and_nothing_else(make_store):
    store = make_store()
    store.update("s", lambda s: s.history.extend({"role": "user", "content": str(n)} for n in range(5000)))
    checkout = load(store)
    checkout.session.add_message("user", "more")
    keep, append = checkout.changed_log({}, checkout.session.history)
    assert (keep, append) == (5000, ('{"role":"user","content":"more"}',))
    assert save(store, checkout)
    assert texts(store) == [*map(str, range(5000)), "more"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda h: h.pop(),
        lambda h: h.clear(),
        lambda h: h.insert(0, {"role": "user", "content": "first"}),
        lambda h: h[1].update(content="edited"),
        lambda h: h.reverse(),
        lambda h: h.__setitem__(slice(0, 2), [{"role": "user", "content": "summary"}]),
        lambda h: (h.pop(0), h.append({"role": "user", "content": "x"})),
        lambda h: h.append({"role": "user", "content": (1, 2)}),
    ],
)
def test_every_edit_of_the_history_is_stored(make_store, edit):
    store = make_store()
    expected = [{"role": "user", "content": str(n)} for n in range(4)]
    store.update("s", lambda s: s.history.extend(expected))
    expected = [dict(message) for message in expected]
    edit(expected)
    checkout = load(store)
    edit(checkout.session.history)
    assert save(store, checkout)
    assert load(store).session.history == expected
    assert save(store, checkout) is False
    checkout.session.add_message("user", "after")
    assert save(store, checkout)
    assert load(store).session.history == [*expected, {"role": "user", "content": "after"}]
    record = store.read("s")
    assert record.log_bytes == sum(
        len(json.dumps(item, separators=(",", ":"))) for item in json.loads(record.log)
    )


def test_overlapping_requests_both_survive(make_store):
    store = make_store()
    store.update("s", say("0"))
    one, two = load(store), load(store)
    for checkout, name in ((one, "one"), (two, "two")):
        checkout.session.add_message("user", name)
        checkout.session.tool_calls += 1
        checkout.session.cost += Decimal("0.01")
        checkout.session.usage.output += 10
        checkout.session.metadata[name] = True
    save(store, one)
    save(store, two)
    merged = load(store).session
    assert texts(store) == ["0", "one", "two"]
    assert (merged.tool_calls, merged.cost, merged.usage.output) == (2, Decimal("0.02"), 20)
    assert merged.metadata == {"one": True, "two": True}
    assert two.session == merged  # the application sees what was saved


def test_two_first_requests_of_one_conversation(make_store):
    store = make_store()
    one, two = load(store), load(store)
    one.session.add_message("user", "same")
    two.session.add_message("user", "same")
    save(store, one)
    save(store, two)
    assert texts(store) == ["same", "same"]


def test_a_real_conflict_is_raised_and_names_the_place(make_store):
    store = make_store()
    one, two = load(store), load(store)
    one.session.metadata["title"] = "tea"
    two.session.metadata["title"] = "coffee"
    save(store, one)
    with pytest.raises(SessionConflict, match="metadata.title") as caught:
        save(store, two)
    assert caught.value.paths == ("metadata.title",)
    assert load(store).session.metadata == {"title": "tea"}


def test_rules_decide_single_places(make_store):
    rules = {
        "metadata.title": "mine",
        "metadata.seen": "max",
        "metadata.both": lambda base, mine, theirs: [mine, theirs],
    }
    store = make_store(merge=rules)
    one, two = load(store), load(store)
    one.session.metadata.update(title="tea", seen=5.0, both=1)
    two.session.metadata.update(title="coffee", seen=4.0, both=2)
    save(store, one)
    save(store, two)
    assert load(store).session.metadata == {"title": "coffee", "seen": 5.0, "both": [2, 1]}
    with pytest.raises(ConfigError, match="newest"):
        make_store(merge={"metadata.title": "newest"})


def test_on_conflict_raise(make_store):
    store = make_store(on_conflict="raise")
    one, two = load(store), load(store)
    one.session.add_message("user", "1")
    two.session.add_message("user", "2")
    save(store, one)
    with pytest.raises(SessionConflict, match="version 0, now 1"):
        save(store, two)
    assert texts(store) == ["1"]


def test_a_deleted_session_does_not_come_back(make_store):
    store = make_store()
    store.update("s", say("1"))
    checkout = load(store)
    checkout.session.add_message("user", "2")
    store.delete("s")
    with pytest.raises(SessionConflict, match="deleted"):
        save(store, checkout)
    store.update("s", say("new"))
    with pytest.raises(SessionConflict, match="deleted"):
        save(store, checkout)
    assert texts(store) == ["new"]
    store.delete("s")
    store.delete("s")


def test_update_starts_again_on_what_others_saved(make_store):
    store = make_store()
    other = make_store()
    seen = []

    def change(session):
        seen.append(len(session.history))
        if len(seen) < 3:
            other.update("s", say("other"))
        session.add_message("user", "mine")
        return "done"

    assert store.update("s", change) == "done"
    assert seen == [0, 1, 2]
    assert texts(store) == ["other", "other", "mine"]
    with pytest.raises(SessionConflict):
        store.update(
            "s", lambda session: (other.update("s", say("x")), session.add_message("user", "y")), attempts=2
        )


def test_threads_lose_nothing(make_store):
    stores = [make_store() for _ in range(4)]
    errors = []

    def work(number):
        try:
            for turn in range(15):
                checkout = load(stores[number])
                checkout.session.add_message("user", f"{number}.{turn}")
                checkout.session.tool_calls += 1
                save(stores[number], checkout)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    found = texts(stores[0])
    assert sorted(found) == sorted(f"{n}.{t}" for n in range(4) for t in range(15))
    for number in range(4):
        mine = [text for text in found if text.startswith(f"{number}.")]
        assert mine == [f"{number}.{turn}" for turn in range(15)]
    assert load(stores[0]).session.tool_calls == 60


def test_asynchronous_use(make_store):
    store = make_store()

    async def one(number):
        checkout = Checkout("s", store.policy, Terms(AgentSession, "history", None))
        await arun(store, checkout.open())
        await asyncio.sleep(0.01)
        checkout.session.add_message("user", number)
        await arun(store, checkout.save())

    async def main():
        await asyncio.gather(*(one(number) for number in range(10)))

        async def change(session):
            await asyncio.sleep(0)
            session.add_message("user", "last")
            return len(session.history)

        assert await store.aupdate("s", change) == 11
        assert await store.aupdate("s", lambda session: len(session.history)) == 11
        await store.adelete("gone")
        await store.aclose()

    asyncio.run(main())
    asyncio.run(store.aclose())
    found = texts(store)
    assert sorted(found[:10]) == list(range(10))
    assert found[10] == "last"


def test_trio(make_store):
    store = make_store()

    async def main():
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(store.aupdate, "s", say(str(number)))

    trio.run(main)
    assert sorted(texts(store)) == ["0", "1", "2"]


def test_time_to_live(make_store):
    store = make_store(ttl=0.6)
    store.update("s", say("1"))
    for _ in range(4):
        time.sleep(0.3)
        assert texts(store) == ["1"]  # each use renews it
    time.sleep(0.9)
    assert texts(store) == []
    store.update("s", say("new"))
    assert texts(store) == ["new"]


def test_a_session_that_expires_while_in_use_is_not_revived(make_store):
    store = make_store(ttl=0.2)
    store.update("s", say("1"))
    checkout = load(store)
    time.sleep(0.4)
    checkout.session.add_message("user", "2")
    with pytest.raises(SessionConflict, match="expired"):
        save(store, checkout)
    assert texts(store) == []


def test_no_time_to_live(make_store):
    store = make_store(ttl=None)
    store.update("s", say("1"))
    assert texts(store) == ["1"]


def test_window_loads_the_last_messages_only(make_store):
    store, windowed = make_store(), make_store(window=3)
    store.update("s", lambda s: [s.add_message("user", str(n)) for n in range(10)])
    assert texts(windowed) == ["7", "8", "9"]
    one, two = load(windowed), load(windowed)
    one.session.add_message("user", "one")
    two.session.add_message("user", "two")
    two.session.history[0]["content"] = "edited"
    save(windowed, one)
    save(windowed, two)
    assert texts(store) == [*map(str, range(7)), "edited", "8", "9", "one", "two"]
    three = load(windowed)
    store.update("s", lambda s: s.history.__delitem__(slice(None)))  # somebody empties it meanwhile
    three.session.add_message("user", "three")
    save(windowed, three)
    assert texts(store) == ["three"]


def test_owner(make_store):
    store = make_store()
    store.update("s", say("anonymous"))
    assert store.read("s").owner is None
    store.update("s", say("ada's now"), user_id="ada")
    assert store.read("s").owner == "ada"
    for user in ("bob", None):
        with pytest.raises(SessionDenied):
            load(store, user_id=user)
        with pytest.raises(SessionDenied):
            store.update("s", say("intruder"), user_id=user)
    assert (
        load(store, user_id="ada").session.user_id is None
    )  # the owner is the store's, not the application's
    checkout = load(store, "t", user_id="ada")
    assert checkout.session.user_id == "ada"


def test_a_session_taken_over_by_another_user_meanwhile_is_not_saved(make_store):
    store = make_store()
    store.update("s", say("1"))
    checkout = load(store)
    checkout.session.add_message("user", "2")
    store.update("s", say("ada's"), user_id="ada")
    with pytest.raises(SessionDenied):
        save(store, checkout)


def test_too_large(make_store):
    store = make_store(max_bytes=1000)
    store.update("s", say("x" * 500))
    with pytest.raises(SessionTooLarge, match="max_bytes"):
        store.update("s", say("y" * 500))
    with pytest.raises(SessionTooLarge):
        store.update("t", lambda s: s.metadata.update(x="z" * 1000))
    assert texts(store) == ["x" * 500]
    store.update("s", lambda s: (s.history.clear(), s.add_message("user", "y" * 500)))
    assert texts(store) == ["y" * 500]


def test_lock_lets_one_request_at_a_time(make_store):
    store = make_store(on_conflict="lock", lock_wait=20)
    inside, most = [0], [0]

    def work():
        for _ in range(4):
            checkout = load(store)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.005)
            checkout.session.add_message("user", str(len(checkout.session.history)))
            save(store, checkout)
            inside[0] -= 1
            run(store, checkout.unlock())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]
    assert texts(make_store()) == [str(n) for n in range(16)]


def test_a_lock_that_nobody_gives_back_ends_with_its_lease(make_store):
    store = make_store(on_conflict="lock", lock_lease=0.3, lock_wait=5)
    dead = load(store)
    started = time.monotonic()
    alive = load(store)
    assert 0.2 < time.monotonic() - started < 4
    dead.session.add_message("user", "from the dead")
    alive.session.add_message("user", "alive")
    save(store, alive)
    save(store, dead)  # after its lease: merged, as nothing may be overwritten
    run(store, dead.unlock())  # is not the holder any more: releases nothing
    impatient = make_store(on_conflict="lock", lock_wait=0)
    save(store, alive)
    run(store, alive.unlock())
    assert [m["content"] for m in load(impatient).session.history] == ["alive", "from the dead"]


def test_lock_wait_ends(make_store):
    store = make_store(on_conflict="lock", lock_wait=0.05)
    load(store)
    with pytest.raises(SessionLocked, match="lock_wait"):
        load(store)


@pytest.mark.parametrize(
    "session_id", ["", None, 5, "x" * 600, "a\nb", "\x00", "\ud800", "é" * 300, "a\u202eb"]
)
def test_ids_that_no_store_should_see(make_store, session_id):
    with pytest.raises(SessionIdRefused):
        make_store().update(session_id, say("x"))


@pytest.mark.parametrize(
    "session_id", ["{a}b", "a}{b", "a:b", "a b", "../x", "'; drop table x", "*", "é☃", "%7B"]
)
def test_strange_ids_are_ids_like_others(make_store, session_id):
    store = make_store()
    store.update(session_id, say(session_id))
    store.update("other", say("other"))
    assert texts(store, session_id) == [session_id]


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 0},
        {"ttl": float("nan")},
        {"on_conflict": "overwrite"},
        {"window": 0},
        {"max_bytes": 0},
        {"lock_lease": -1},
    ],
)
def test_options_that_can_not_work(make_store, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_store(**options)


def test_a_user_id_that_is_a_number_stays_its_own_owner(make_store):
    store = make_store()
    store.update("s", say("1"), user_id=7)
    store.update("s", say("2"), user_id=7)
    assert store.read("s").owner == "7"
    with pytest.raises(SessionDenied):
        store.update("s", say("3"), user_id=8)
    store.update("t", say("1"), user_id="")
    assert store.read("t").owner is None
