"""A state too large to be compared at once: ``python -m benchmarks.large --sizes 1000000``.

In one process: requests that work for 300 µs each, one after the other, first without and then with a guard
that watches so many objects. Said are, per size,

* the baseline: processor time per object, and how long it takes beside nothing else
* throughput: requests per second of processor time, as a share of that without the guard
* the pause: the most processor time that one request has spent in the guard. Processor time, because on a
  shared machine the clock on the wall shows other people's work
* planted leaks, each a field of one message replaced once: after how many requests they are found, and what
  ``guard.stats.lag_requests`` had promised
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import random
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.check import chat_histories
from stateguard import Guard

WORK = 300_000
"""Nanoseconds of processor time that a request works for."""

WARM_UP = 3.0
"""Seconds before the guarded throughput is measured: a guard is patient with a burst, see stateguard.pace."""

LIMIT = 2_000_000
"""Requests after which a planted leak counts as missed."""


def work() -> None:
    """What a request does."""
    until = time.thread_time_ns() + WORK
    while time.thread_time_ns() < until:
        sum(range(200))


def serve(guard: Guard, plant: Any = None) -> int:
    """One request; the processor time that it has spent beside its work, in nanoseconds."""
    began = time.thread_time_ns()
    with guard.request("request"):
        inside = time.thread_time_ns()
        work()
        if plant is not None:
            plant()
        inside = time.thread_time_ns() - inside
    return time.thread_time_ns() - began - inside


def requests(
    guard: Guard, step: Callable[[int], object] | None, seconds: float, first: int = 0
) -> tuple[float, list[int]]:
    """Requests per second of processor time, and what each has spent in the guard. ``step`` is what the n-th
    of them does beside its work, ``first`` how many have been before.
    """
    spent: list[int] = []
    plant = None if step is None else lambda: step(first + len(spent))
    began, end = time.thread_time(), time.monotonic() + seconds
    while time.monotonic() < end:
        spent.append(serve(guard, plant))
    return len(spent) / (time.thread_time() - began), spent


def measure(size: int, seconds: float, leaks: int) -> dict[str, float]:
    """One size."""
    module = types.ModuleType("benchmark_large")
    module.HISTORIES = histories = chat_histories(size)
    sys.modules[module.__name__] = module
    gc.collect()
    gc.freeze()
    bare, _ = requests(Guard(mode="off"), None, seconds)
    guard = Guard(watch=[module.__name__], process=False, keep=100_000)
    started = time.monotonic()
    assert guard.engine is not None
    guard.engine.start_soon()
    while not guard.stats.ready:
        time.sleep(0.05)
    ready = time.monotonic() - started
    nodes = guard.stats.nodes
    requests(guard, None, WARM_UP)
    guarded, spent = requests(guard, None, seconds)
    spent.sort()
    users, rng = list(histories.values()), random.Random(7)
    lags, promised = [], 0
    for n in range(leaks):
        promised = max(promised, guard.stats.lag_requests)
        before = len(guard.leaks)
        message = rng.choice(rng.choice(users))
        serve(guard, lambda message=message, n=n: message.update(content=f"planted {n}"))
        lag = 0
        while len(guard.leaks) == before and lag < LIMIT:
            serve(guard)
            lag += 1
        lags.append(lag)
        promised = max(promised, guard.stats.lag_requests)
    result = {
        "objects": nodes,
        "bytes per object": guard.stats.memory / nodes,
        "baseline seconds": ready,
        "baseline us per object": guard.stats.walk_seconds / nodes * 1e6,
        "throughput": guarded / bare,
        "longest ms": spent[-1] / 1e6,
        "p99 ms": spent[int(len(spent) * 0.99)] / 1e6,
        "found within": max(lags, default=0),
        "promised": promised,
        "missed": sum(lag >= LIMIT for lag in lags),
        "slicing": float(guard.stats.slicing),
    }
    guard.close()
    del sys.modules[module.__name__]
    gc.unfreeze()
    return result


def main() -> int:
    """Measure and print; the number of planted leaks that were missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=4.0, help="per throughput figure")
    parser.add_argument("--leaks", type=int, default=3, help="planted per size")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    print(f"Python {platform.python_version()}")
    results = []
    for size in options.sizes:
        result = measure(size, options.seconds, options.leaks)
        results.append(result)
        print("  ".join(f"{name} {value:,.4g}" for name, value in result.items()), flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))
    return int(sum(result["missed"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
