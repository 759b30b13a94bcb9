"""The Redis store on more than one server: replicas, Sentinel and Cluster, all of them real."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
import redis.asyncio
import redis.crc

from stateguard.errors import SessionStoreError
from stateguard.sessions import RedisStore
from stateguard.sessions.steps import run
from tests.redis_server import RedisServer, free_port
from tests.sessions.turns import load, say, texts


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path / "own").start()
    yield server
    server.stop()


def test_replicas_confirm_or_the_save_fails(server):
    store = RedisStore(server.url, replicas=1, timeout=20)
    store.timeout = 0.4
    with pytest.raises(SessionStoreError, match="0 of replicas=1"):
        store.update("s", say("x"))
    store.close()


@pytest.fixture
def replicated(tmp_path):
    """A server and its replica, which has caught up."""
    server = RedisServer(tmp_path / "own", "--repl-diskless-sync-delay", "0").start()
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port)).start()
    with redis.Redis(port=server.port) as client:
        deadline = time.monotonic() + 30
        while not client.wait(1, 100):
            assert time.monotonic() < deadline
    yield server, replica
    replica.resume()
    replica.stop()
    server.stop()


def test_replicas_are_asked_about_this_save_on_whatever_connection(replicated):
    """WAIT counts what its own connection has seen: one that idled would confirm what nobody has."""
    server, replica = replicated

    class Busy(RedisStore):
        def _await_replicas(self, session_id):
            pool = self._clients.plain().connection_pool
            taken = pool.get_connection()  # another thread is quicker: the wait goes by another connection
            try:
                super()._await_replicas(session_id)
            finally:
                pool.release(taken)

    store = Busy(server.url, replicas=1, timeout=20)
    store.update("s", say("1"))  # by now both connections exist
    checkout = load(store)
    checkout.session.add_message("user", "2")
    replica.pause()
    store.timeout = 0.4
    with pytest.raises(SessionStoreError, match="0 of replicas=1"):
        run(store, checkout.save())
    replica.resume()
    store.timeout = 20
    checkout.session.add_message("user", "3")
    run(store, checkout.save())
    assert texts(store) == ["1", "2", "3"]
    store.close()


def test_replicas_with_asyncio(replicated):
    server, replica = replicated
    store = RedisStore(server.url, replicas=1, timeout=20)

    async def main():
        await store.aupdate("s", say("1"))
        replica.pause()
        store.timeout = 0.4
        with pytest.raises(SessionStoreError, match="0 of replicas=1"):
            await store.aupdate("s", say("2"))
        replica.resume()
        store.timeout = 20
        await store.adelete("s")
        await store.aclose()

    asyncio.run(main())
    assert texts(store) == []
    store.close()


@pytest.fixture
def cluster(tmp_path):
    """Three masters, all slots; without redis-cli, so the slots are given by hand."""
    ports = [free_port() for _ in range(3)]
    servers = [
        RedisServer(
            tmp_path / str(port), "--cluster-enabled", "yes", "--cluster-port", str(free_port()), port=port
        )
        for port in ports
    ]
    for server in servers:
        server.start()
    clients = [redis.Redis(port=port) for port in ports]
    share = 16384 // 3 + 1
    for number, client in enumerate(clients):
        client.execute_command(
            "CLUSTER", "ADDSLOTSRANGE", number * share, min((number + 1) * share, 16384) - 1
        )
        bus = servers[number].options[3]
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[number], bus)
    deadline = time.monotonic() + 30
    while not all(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for client in clients):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
    for client in clients:
        client.close()
    for server in servers:
        server.stop()


def move_slot(store, session_id):
    """Resharding, with a turn while the slot is half way: the server answers ASK, and MOVED afterwards."""
    key = store.key(session_id)
    slot = redis.crc.key_slot(key.encode())
    client = store._clients.plain()
    home = client.get_node_from_key(key)
    target = next(node for node in client.get_primaries() if node.name != home.name)
    with redis.Redis(port=home.port) as old, redis.Redis(port=target.port) as new:
        old_id, new_id = old.execute_command("CLUSTER MYID"), new.execute_command("CLUSTER MYID")
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        keys = old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10)
        for name in keys:
            old.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
        assert keys
        assert texts(store, session_id)
        for each in (new, old):
            each.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)


def test_cluster(cluster):
    store = RedisStore(cluster, on_conflict="lock")
    for number in range(20):
        store.update(f"s{number}", say(str(number)))
    assert [texts(store, f"s{number}") for number in range(20)] == [[str(number)] for number in range(20)]

    async def main():
        for number in range(20):
            await store.aupdate(f"s{number}", say("async"))
        await store.aclose()

    asyncio.run(main())
    assert texts(store, "s7") == ["7", "async"]
    store.close()

    move_slot(store, "s7")
    store.update("s7", say("moved"))
    assert texts(store, "s7") == ["7", "async", "moved"]

    careful = RedisStore(cluster, replicas=1, timeout=20)  # this cluster has none
    careful.timeout = 0.4
    with pytest.raises(SessionStoreError, match="0 of replicas=1"):
        careful.update("s7", say("by whom?"))

    async def wait():
        with pytest.raises(SessionStoreError, match="0 of replicas=1"):
            await careful.aupdate("s8", say("by whom?"))
        await careful.aclose()

    asyncio.run(wait())
    careful.close()


def test_cluster_down():
    store = RedisStore(f"redis+cluster://127.0.0.1:{free_port()}", timeout=0.5)
    with pytest.raises(SessionStoreError, match="could not load session 's'"):
        store.update("s", say("x"))

    async def main():
        with pytest.raises(SessionStoreError, match="could not load session 's'"):
            await store.aupdate("s", say("x"))

    asyncio.run(main())


@pytest.fixture
def sentinel(tmp_path):
    """A master, its replica, and one sentinel that makes the replica the master when the master dies."""
    master = RedisServer(tmp_path / "master", "--repl-diskless-sync-delay", "0").start()
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(master.port)).start()
    port = free_port()
    folder = tmp_path / "sentinel"
    folder.mkdir()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    )

    class Sentinel(RedisServer):
        def command(self):
            return [super().command()[0], str(config), "--sentinel"]

    watcher = Sentinel(folder, port=port).start()
    with redis.Redis(port=replica.port) as client:
        deadline = time.monotonic() + 20
        while client.info("replication")["master_link_status"] != "up" and time.monotonic() < deadline:
            time.sleep(0.05)
    with redis.Redis(port=port) as client:
        while not client.sentinel_slaves("main") and time.monotonic() < deadline:
            time.sleep(0.1)
    yield f"redis+sentinel://127.0.0.1:{port}/main/0", master
    for server in (watcher, replica, master):
        server.stop()


def test_sentinel_failover_keeps_what_was_confirmed(sentinel):
    url, master = sentinel
    store = RedisStore(url, replicas=1, timeout=20)
    confirmed = []
    for number in range(20):
        store.update("s", say(str(number)))
        confirmed.append(str(number))
    checkout = load(store)
    master.kill()
    after = RedisStore(url, timeout=1)
    deadline = time.monotonic() + 40
    while True:
        try:
            checkout.session.add_message("user", "across the failover")
            run(after, checkout.save())
            break
        except SessionStoreError:
            checkout.session.history.pop()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    async def main():
        found = await after.aupdate("s", lambda s: [m["content"] for m in s.history])
        await after.aclose()
        return found

    assert asyncio.run(main()) == [*confirmed, "across the failover"]
    store.close()
    after.close()
