"""The Redis store when things go wrong, with a real redis-server: stopped, killed, full, replaced."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
import time

import pytest
import redis
import redis.asyncio
import redis.crc

from stateguard.errors import ConfigError, SessionConflict, SessionRecordError, SessionStoreError
from stateguard.sessions import RedisStore
from stateguard.sessions.record import Commit, new_token
from stateguard.sessions.redis_url import parse, redacted
from stateguard.sessions.steps import run
from tests.redis_server import RedisServer
from tests.sessions.turns import load, say, texts


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path / "own").start()
    yield server
    server.stop()


@pytest.fixture
def store(redis_url):
    store = RedisStore(redis_url)
    yield store
    store.close()


def test_keys_are_hash_tagged_and_expire(store, redis_url):
    store.update("a:{b}", say("x"))
    store.acquire("a:{b}", "token", 5)
    with redis.Redis.from_url(redis_url) as client:
        keys = sorted(client.keys())
        assert keys == [b"stateguard:{a%3A%7Bb%7D}:lock", b"stateguard:{a%3A%7Bb%7D}:session"]
        assert {redis.crc.key_slot(key) for key in keys} == {redis.crc.key_slot(b"a%3A%7Bb%7D")}
        assert all(0 < client.pttl(key) <= 14 * 24 * 3600 * 1000 for key in keys)


def test_a_commit_sent_twice_is_applied_once(store):
    commit = Commit("s", 0, "epoch", None, '{"format":1,"fields":{}}', 0, ('{"n":1}',), 7, 60, new_token())
    assert store.commit(commit)
    assert store.commit(commit)  # the reply of the first was lost: the client sends it again
    assert store.read("s").log == '[{"n":1}]'
    assert store.read("s").version == 1


def test_the_scripts_are_loaded_again_after_a_flush(store, redis_url):
    store.update("s", say("1"))
    with redis.Redis.from_url(redis_url) as client:
        client.script_flush()
    store.update("s", say("2"))
    assert texts(store) == ["1", "2"]


def test_server_killed_and_restarted(server):
    store = RedisStore(server.url, timeout=0.5, retries=1)
    store.update("s", say("1"))
    server.kill()
    with pytest.raises(SessionStoreError, match="could not load session 's'"):
        store.update("s", say("lost"))
    server.start()
    store.update("s", say("2"))
    assert texts(store) == ["1", "2"]
    store.close()


def test_server_restarted_between_load_and_save(server):
    store = RedisStore(server.url)
    store.update("s", say("1"))
    checkout = load(store)
    server.kill()
    server.start()
    checkout.session.add_message("user", "2")
    run(store, checkout.save())
    assert texts(store) == ["1", "2"]
    store.close()


def test_slow_server_times_out_and_serves_nobody_the_late_reply(server):
    store = RedisStore(server.url, timeout=0.2, retries=0)
    store.update("one", say("first"))
    store.update("two", say("second"))
    server.pause()
    with pytest.raises(SessionStoreError, match="timeout=0.2"):
        store.update("one", say("late"))
    server.resume()
    time.sleep(0.3)
    assert texts(store, "two") == ["second"]
    assert texts(store, "one") in (["first"], ["first", "late"])
    store.close()


def test_asynchronous_server_down_and_back(server):
    store = RedisStore(server.url, timeout=0.5, retries=1)

    async def main():
        await store.aupdate("s", say("1"))
        server.kill()
        with pytest.raises(SessionStoreError):
            await store.aupdate("s", say("lost"))
        server.start()
        await store.aupdate("s", say("2"))
        assert await store.aupdate("s", lambda s: [m["content"] for m in s.history]) == ["1", "2"]
        await store.aclose()

    asyncio.run(main())


def test_cancelled_commands_never_serve_the_next_caller_their_reply(store):
    """redis-py#2624, #2665: cancel at random moments, then look whether anybody reads another's session."""
    names = [f"s{number}" for number in range(5)]
    chance = random.Random(5)

    async def turn(name):
        await store.aupdate(name, lambda s: s.metadata.update(name=name))

    async def read(name):
        return await store.aupdate(name, lambda s: s.metadata.get("name"))

    async def main():
        for name in names:
            await turn(name)
        cancelled = 0
        for _ in range(60):
            tasks = [asyncio.create_task(read(name)) for name in names for _ in range(3)]
            await asyncio.sleep(chance.random() * 0.004)
            for task in chance.sample(tasks, 7):
                cancelled += task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            for name, answer in zip([name for name in names for _ in range(3)], found, strict=True):
                assert answer == name or isinstance(answer, asyncio.CancelledError), answer
        assert cancelled > 20
        await store.aclose()

    asyncio.run(main())


def test_cancelled_while_waiting_for_the_lock_gives_it_back(redis_url):
    store = RedisStore(redis_url, on_conflict="lock", lock_lease=30, lock_wait=5)
    chance = random.Random(7)

    async def main():
        for _ in range(30):
            task = asyncio.create_task(store.aupdate("s", say("x")))
            await asyncio.sleep(chance.random() * 0.003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.wait_for(store.aupdate("s", lambda s: None), 4)
        await store.aclose()

    asyncio.run(main())


class Babbler:
    """Answers every command with the same bytes: what is not a Redis, or not today."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.socket.getsockname()[1]}/0"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.babble, args=(connection,), daemon=True).start()

    def babble(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536):
                    connection.sendall(self.answer)
            except OSError:
                pass

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)  # close() alone does not wake up accept()
        self.socket.close()
        self.thread.join(5)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*2\r\n$3\r\nabc\r\n:1\r\n",
        b"*1\r\n:0\r\n",
        b"\x00\xff\xfe\r\n",
        b"-ERR unknown command\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"",
    ],
    ids=repr,
)
def test_garbage_replies(answer):
    babbler = Babbler(answer)
    store = RedisStore(babbler.url, timeout=0.3, retries=0, client_options={"protocol": 2})
    try:
        with pytest.raises(SessionStoreError, match="'s'"):
            store.update("s", say("x"))

        async def main():
            with pytest.raises(SessionStoreError, match="'s'"):
                await store.aupdate("s", say("x"))
            await store.aclose()

        asyncio.run(main())
    finally:
        store.close()
        babbler.close()


def test_out_of_memory_writes_all_or_nothing(server):
    store = RedisStore(server.url)
    store.update("s", say("1"))
    store.update("s", say("2"))
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        checkout = load(store)
        checkout.session.history[0] = {"role": "user", "content": "edited"}  # removes and appends
        with pytest.raises(SessionStoreError, match="out of memory"):
            run(store, checkout.save())
        client.config_set("maxmemory", 0)
    assert texts(store) == ["1", "2"]
    run(store, checkout.save())
    assert texts(store) == ["edited", "2"]
    store.close()


@pytest.mark.parametrize("way", ["plain", "asyncio"])
def test_a_server_that_evicts_is_warned_about_once(server, caplog, way):
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", 100_000_000)
    store = RedisStore(server.url)

    async def main():
        for text in "ab":
            await store.aupdate("s", say(text))
        await store.aclose()

    if way == "asyncio":
        asyncio.run(main())
    for text in "cd":
        store.update("s", say(text))
    store.close()
    assert caplog.text.count("maxmemory-policy allkeys-lru") == 1


def test_a_session_evicted_under_a_request_is_not_half_written_back(store, redis_url):
    for text in "123":
        store.update("s", say(text))
    checkout = load(store)
    with redis.Redis.from_url(redis_url) as client:
        client.delete(store.key("s"))  # as an eviction does
    checkout.session.add_message("user", "4")
    with pytest.raises(SessionConflict, match="deleted, or has expired"):
        run(store, checkout.save())
    assert store.read("s") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda client, key: client.hset(key, "d", b"\xff\xfe not json"),
        lambda client, key: client.hset(key, "d", "[1]"),
        lambda client, key: client.hset(key, "d", '{"format":99,"fields":{}}'),
        lambda client, key: client.hset(key, "d", "[" * 100_000),
        lambda client, key: client.hset(key, "0", "not json"),
        lambda client, key: client.hset(key, "0", '"a","b"'),
        lambda client, key: client.hdel(key, "0"),
        lambda client, key: client.hset(key, "v", "many"),
        lambda client, key: (client.delete(key), client.set(key, "a string")),
        lambda client, key: (client.delete(key), client.rpush(key, "a list")),
    ],
)
def test_a_damaged_record_is_reported_and_left_as_it_is(store, redis_url, damage):
    store.update("s", say("1"))
    with redis.Redis.from_url(redis_url) as client:
        damage(client, store.key("s"))
        before = client.dump(store.key("s"))
        with pytest.raises((SessionRecordError, SessionStoreError)):
            store.update("s", say("2"))
        assert client.dump(store.key("s")) == before
        store.delete("s")
    store.update("s", say("new"))
    assert texts(store) == ["new"]


def test_a_server_gone_back_in_time_gets_back_what_was_confirmed(store, redis_url, caplog):
    store.update("s", say("1"))
    with redis.Redis.from_url(redis_url) as client:
        backup = client.dump(store.key("s"))
        for text in ("2", "3"):
            store.update("s", say(text))
        checkout = load(store)
        client.restore(store.key("s"), 0, backup, replace=True)  # as a failover to a late replica does
    checkout.session.add_message("user", "4")
    run(store, checkout.save())
    assert texts(store) == ["1", "2", "3", "4"]
    assert "lost confirmed data" in caplog.text.replace("it has lost ", "it has lost ")


def test_long_histories(store):
    count = 12_345
    store.update("s", lambda s: s.history.extend({"n": n} for n in range(count)))
    checkout = load(store)
    assert [item["n"] for item in checkout.session.history] == list(range(count))
    del checkout.session.history[10:]
    run(store, checkout.save())
    assert len(texts_of := store.update("s", lambda s: list(s.history))) == 10, texts_of
    store.update("s", lambda s: s.history.clear())
    assert store.read("s").log == "[]"


def test_conflicts_between_event_loops_and_threads(store):
    def in_loop(number):
        async def main():
            for turn in range(10):
                await store.aupdate("s", say(f"{number}.{turn}"))
            await store.aclose()

        asyncio.run(main())

    threads = [threading.Thread(target=in_loop, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        store.update("s", say(f"plain.{turn}"))
    for thread in threads:
        thread.join(60)
    assert len(texts(store)) == 40


def test_urls():
    assert parse("rediss://u:p@h:1/2").kind == "single"
    found = parse("redis+sentinel://me:p%40ss@a,b:123/main/3?sentinel_password=x")
    assert (found.kind, found.hosts, found.service) == ("sentinel", (("a", 26379), ("b", 123)), "main")
    assert found.options == {"username": "me", "password": "p@ss", "db": 3, "sentinel_password": "x"}
    found = parse("rediss+cluster://[::1]:7000,b")
    assert (found.kind, found.hosts, found.options) == (
        "cluster",
        (("::1", 7000), ("b", 6379)),
        {"ssl": True},
    )
    for wrong in ("http://x", "redis+sentinel://h", "redis+cluster://", "localhost", "redis+cluster://h:x"):
        with pytest.raises(ConfigError, match="RedisStore"):
            parse(wrong)
    assert "secret" not in redacted("redis://u:secret@h/0?password=secret") + repr(
        RedisStore("redis://:secret@h")
    )
    with pytest.raises(ConfigError, match="braces"):
        RedisStore("redis://h", prefix="{x}")


def test_conflict_is_still_a_conflict(store):
    one, two = load(store), load(store)
    one.session.metadata["a"] = "x"
    two.session.metadata["a"] = "y"
    run(store, one.save())
    with pytest.raises(SessionConflict):
        run(store, two.save())
