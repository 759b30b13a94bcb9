"""The graph while several threads change what is watched, and afterwards.

With the interpreter lock they take turns every few microseconds; on a free-threaded build they run at the
same instant, also during a comparison.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import defaultdict, deque

import pytest

from stateguard.parallel import PARALLEL
from stateguard.watch.watcher import Watcher
from tests.watch.test_graph_consistency import (
    MODULE,
    DictOf,
    ListOf,
    Mixed,
    Plain,
    Random,
    Slotted,
    closure,
    compare,
)

NEW = (
    list,
    dict,
    set,
    deque,
    lambda: defaultdict(list),
    Plain,
    Slotted,
    Mixed,
    ListOf,
    DictOf,
    lambda: closure([]),
    lambda: (["in a tuple"],),
    lambda: object(),
    lambda: "a word",
    lambda: 7,
)
"""What threads may share on every build: changing a bytearray or an OrderedDict on two of them at once is for
no application to do on a free-threaded CPython 3.13."""

WRITERS = 3
MUTATIONS = 300


class Shared(Random):
    """The same mutations, by whoever comes: each thread has a generator of its own."""

    def __init__(self, seed, module=None):
        super().__init__(seed)
        if module is not None:
            self.module = module

    def value(self, objects):
        return self.rng.choice(NEW)() if self.rng.random() < 0.6 else self.rng.choice(objects)


@pytest.mark.parametrize("seed", range(3))
def test_the_graph_after_parallel_mutations_is_the_graph_built_anew(seed, often):
    made = Shared(seed)
    sys.modules[MODULE] = made.module
    stop = threading.Event()
    errors = []

    def write(number):
        mine = Shared(100 * seed + number, made.module)
        for _ in range(MUTATIONS):
            if stop.is_set():
                break
            try:
                mine.mutate()
            except (RuntimeError, LookupError, AttributeError, TypeError):
                pass  # somebody else was at the same object: the application's own business
            except BaseException as error:
                errors.append(error)
                raise

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    try:
        watcher = Watcher([MODULE], process=False)
        watcher.start()
        for thread in writers:
            thread.start()
        rng = random.Random(seed)
        while any(thread.is_alive() for thread in writers):
            if rng.random() < 0.3:
                watcher.check_hot()
            watcher.check(keys=rng.random() < 0.8)
            watcher.check_cold()
        for thread in writers:
            thread.join(30)
        # What was being changed while it was looked at is looked at again.
        for _ in range(3):
            watcher.check()
            watcher.check_cold()
        assert (watcher.check(), watcher.check_cold()) == ([], [])
        if PARALLEL:  # with the lock, a content may be of another instant than its references: not read again
            compare(watcher, seed, "last")
    finally:
        stop.set()
        for thread in writers:
            if thread.is_alive():
                thread.join(30)
        del sys.modules[MODULE]
    assert errors == []


def test_nothing_that_is_appended_in_parallel_is_overlooked(often):
    """Each entry comes once: what the changes list adds up to what is there."""
    module = type(sys)(MODULE)
    module.entries, module.table, module.members, module.thing = [], {}, set(), Plain()
    sys.modules[MODULE] = module
    start = threading.Barrier(WRITERS + 1)

    def write(number):
        start.wait(30)
        for i in range(400):
            module.entries.append((number, i))
            module.table[number, i] = i
            module.members.add((number, i))
            setattr(module.thing, f"of_{number}", i)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    try:
        watcher = Watcher([MODULE], process=False)
        watcher.start()
        for thread in writers:
            thread.start()
        start.wait(30)
        came: dict[str, int] = defaultdict(int)
        while True:
            running = any(thread.is_alive() for thread in writers)
            for seen in watcher.check():
                difference = seen.difference
                came[seen.root] = len(difference.after.values) + difference.after.gap
            if not running:
                break
        assert (
            came[f"{MODULE}.entries"] == came[f"{MODULE}.table"] == came[f"{MODULE}.members"] == 400 * WRITERS
        )
        assert len(module.entries) == 400 * WRITERS
        assert watcher.check() == []
        _, content = watcher.graph.content(module.entries)
        assert [*map(id, content.values)] == [*map(id, module.entries)]
        _, content = watcher.graph.content(module.table)
        assert [*map(id, content.values)] == [*map(id, module.table.values())]
    finally:
        for thread in writers:
            thread.join(30)
        del sys.modules[MODULE]
