"""One store of each kind, for the tests that every store has to pass."""

from __future__ import annotations

import pytest

from stateguard.sessions import MemoryStore, RedisStore, SQLiteStore


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_store(request, tmp_path):
    """Makes stores of one kind that all keep their sessions in the same place."""
    made = []
    memory = []

    def make(**options):
        if request.param == "memory":
            store = MemoryStore(**options)
            if memory:  # other options, the same sessions
                store._kept, store._locks, store._mutex = memory[0]._kept, memory[0]._locks, memory[0]._mutex
            memory.append(store)
        elif request.param == "sqlite":
            store = SQLiteStore(tmp_path / "sessions.db", **options)
        else:
            store = RedisStore(request.getfixturevalue("redis_url"), **options)
        made.append(store)
        return store

    make.kind = request.param
    yield make
    for store in made:
        store.close()
