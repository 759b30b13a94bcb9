"""State whose objects come, go and move: ``python -m benchmarks.churn``.

In one process: requests that work for 300 µs each and write to shared state as services do that keep much of
it, first without and then with a guard.

* *rebind*: a global is bound to another object of a well connected graph in each request: the current user
* *move*: an object leaves one table for another, and knows its own parts, which know it: jobs, connections
* *reload*: every twentieth request puts a new tree in place of one that holds itself: a configuration
* *evict*: an entry comes at the end of an ``OrderedDict``, another leaves at its beginning: a cache
* *burst*: every twentieth request puts 700 records with parts of their own under a key: a cached page
* *sessions*: a list among many grows; now and then one is cleared, one replaced

Said are, per kind and size, of processor time as in ``benchmarks.large``, what the guard adds to a request in
the mean, in the 99th percentile and at most, how many requests it has held up for more than 5 ms, and
throughput as a share of that without the guard.
"""

from __future__ import annotations

import argparse
import gc
import logging
import platform
import random
import sys
import time
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.growing import measure_all, write
from benchmarks.large import WARM_UP, requests
from stateguard import Guard

MODULE = "benchmark_churn"
LONG = 5_000_000
"""Nanoseconds that nobody is to wait for the guard."""

Step = Callable[[int], object]


class Part:
    """An object of the state, with whatever attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


Part.__module__ = MODULE  # what is watched is told by the module


def rebind(state: Any, size: int) -> Step:
    """``size`` objects that all lead to one another."""
    company = Part(users=[])
    company.users += [Part(company=company, name=f"user {i}") for i in range(size // 2)]
    state.USERS = {user.name: user for user in company.users}
    state.CURRENT = None

    def step(i: int) -> None:
        state.CURRENT = random.choice(company.users)

    return step


def move(state: Any, size: int) -> Step:
    """Jobs of ten objects each."""
    jobs = []
    for i in range(size // 10):
        job = Part(number=i, state="new", log=[])
        job.tasks = [Part(job=job) for _ in range(3)]
        jobs.append(job)
    state.PENDING, state.DONE = {job.number: job for job in jobs}, {}

    def step(i: int) -> None:
        if not state.PENDING:
            state.PENDING, state.DONE = state.DONE, state.PENDING
        number = next(iter(state.PENDING))
        job = state.PENDING.pop(number)
        job.state = "done"
        job.log.append(i)
        state.DONE[number] = job

    return step


def reload(state: Any, size: int) -> Step:
    """A tree of a thousand objects beside others that rest."""

    def tree(depth: int, parent: Any) -> Any:
        node = Part(parent=parent)
        node.children = [tree(depth - 1, node) for _ in range(4 if depth else 0)]
        return node

    state.RESTING = [{"number": i} for i in range(size)]
    state.SETTINGS = tree(4, None)

    def step(i: int) -> None:
        if not i % 20:
            state.SETTINGS = tree(4, None)

    return step


def evict(state: Any, size: int) -> Step:
    """Entries of five objects."""

    def entry(i: int) -> Any:
        return {"rows": [{"number": i, "parts": [i]}], "meta": {"number": i}}

    state.CACHE = OrderedDict((f"key {i}", entry(i)) for i in range(size // 5))

    def step(i: int) -> None:
        state.CACHE.popitem(last=False)
        state.CACHE[f"new {i}"] = entry(i)

    return step


def burst(state: Any, size: int) -> Step:
    """Pages beside others that rest."""
    state.RESTING = [{"number": i} for i in range(size)]
    state.PAGES = {}

    def step(i: int) -> None:
        if not i % 20:
            state.PAGES[f"page {i // 20 % 20}"] = [{"number": n, "parts": [n]} for n in range(700)]

    return step


def sessions(state: Any, size: int) -> Step:
    """Histories of eight messages."""
    state.HISTORIES = {f"s{i}": [{"content": str(n)} for n in range(8)] for i in range(size // 9)}
    names = list(state.HISTORIES)

    def step(i: int) -> None:
        state.HISTORIES[random.choice(names)].append({"content": str(i)})
        if not i % 7:
            state.HISTORIES[random.choice(names)].clear()
        if not i % 11:
            state.HISTORIES[random.choice(names)] = []

    return step


KINDS: dict[str, Callable[[Any, int], Step]] = {
    kind.__name__: kind for kind in (rebind, move, reload, evict, burst, sessions)
}


def measure(kind: str, size: int, seconds: float) -> dict[str, Any]:
    """One kind of state of one size."""
    random.seed(size)
    state: Any = types.ModuleType(MODULE)
    bare, _ = requests(Guard(mode="off"), KINDS[kind](state, size), seconds)
    vars(state).clear()
    step = KINDS[kind](state, size)
    sys.modules[MODULE] = state
    gc.collect()
    gc.freeze()
    guard = Guard(watch=[MODULE], process=False)
    guard.start()
    while not guard.stats.ready:
        time.sleep(0.01)
    _, before = requests(guard, step, WARM_UP)
    guarded, spent = requests(guard, step, seconds, first=len(before))
    stats = guard.stats
    everything = sorted(before + spent)
    result = {
        "kind": kind,
        "objects": size,
        "mean us": sum(spent) / len(spent) / 1e3,
        "p99 us": everything[int(len(everything) * 0.99)] / 1e3,
        "longest ms": everything[-1] / 1e6,
        "over 5 ms": sum(one > LONG for one in everything),
        "requests": len(everything),
        "throughput": guarded / bare,
        "gait": stats.gait + (", slicing" if stats.slicing else ""),
    }
    guard.close()
    gc.unfreeze()
    del sys.modules[MODULE]
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seconds", type=float, default=3.0, help="per throughput figure")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    print(f"Python {platform.python_version()}")
    write(options.json, measure_all(measure, options.kinds, options.sizes, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
