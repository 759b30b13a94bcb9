"""A leak that grows by one item per request: ``python -m benchmarks.growing``.

In one process: requests that work for 300 µs each and add one item to a global of so many items, first
without and then with a guard. Whatever the size, a request must cost the same. Said are, per container and
size, of processor time as in ``benchmarks.large``,

* the time that the guard adds to a request: in the mean, in the 99th percentile, and at most
* throughput, as a share of that without the guard
* how many of the additions are in ``guard.counts``: the guard may sum up, it must not lose the leak

With ``--whole`` one list grows from nothing to the largest size, one item per request, and the mean of each
tenth is said. That takes minutes.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.large import WARM_UP, requests, serve
from stateguard import Guard

KINDS: dict[str, tuple[Callable[[int], Any], Callable[[Any, int], object]]] = {
    "list": (lambda n: [f"item {i}" for i in range(n)], lambda grown, i: grown.append(f"item {i}")),
    "dict": (
        lambda n: {f"key {i}": f"item {i}" for i in range(n)},
        lambda grown, i: grown.__setitem__(f"key {i}", f"item {i}"),
    ),
    "records": (
        lambda n: [{"id": f"item {i}"} for i in range(n)],
        lambda grown, i: grown.append({"id": f"item {i}"}),
    ),
}
"""How a container of ``n`` items is made, and how a request adds one."""


def grow(
    guard: Guard, grown: Any, add: Callable[[Any, int], object], seconds: float
) -> tuple[float, list[int]]:
    """Requests per second of processor time, and what each has spent in the guard."""
    return requests(guard, lambda i: add(grown, len(grown)), seconds)


def started(grown: Any) -> Guard:
    """A guard whose baseline is this container as a module's global."""
    module = types.ModuleType("benchmark_growing")
    module.GROWN = grown  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    gc.collect()
    gc.freeze()
    guard = Guard(watch=[module.__name__], process=False)
    guard.start()
    return guard


def measure(kind: str, size: int, seconds: float) -> dict[str, Any]:
    """One container of one size."""
    make, add = KINDS[kind]
    bare, _ = grow(Guard(mode="off"), make(size), add, seconds)
    grown = make(size)
    guard = started(grown)
    grow(guard, grown, add, WARM_UP)
    before = len(grown), sum(guard.counts.values())
    guarded, spent = grow(guard, grown, add, seconds)
    spent.sort()
    result = {
        "kind": kind,
        "items": size,
        "mean us": sum(spent) / len(spent) / 1e3,
        "p99 us": spent[int(len(spent) * 0.99)] / 1e3,
        "longest ms": spent[-1] / 1e6,
        "throughput": guarded / bare,
        "requests": len(grown) - before[0],
        "counted": sum(guard.counts.values()) - before[1],
        "gait": guard.stats.gait + (", slicing" if guard.stats.slicing else ""),
    }
    guard.close()
    gc.unfreeze()
    return result


def measure_whole(size: int) -> list[dict[str, Any]]:
    """A list that grows from nothing: the mean of each tenth."""
    grown: list[str] = []
    guard = started(grown)
    found = []
    for tenth in range(1, 11):
        spent = []
        while len(grown) < size * tenth // 10:
            spent.append(serve(guard, lambda: grown.append(f"item {len(grown)}")))
        spent.sort()
        found.append(
            {
                "items": len(grown),
                "mean us": sum(spent) / len(spent) / 1e3,
                "longest ms": spent[-1] / 1e6,
                "gait": guard.stats.gait + (", slicing" if guard.stats.slicing else ""),
            }
        )
        print("  ".join(f"{name} {show(value)}" for name, value in found[-1].items()), flush=True)
    guard.close()
    gc.unfreeze()
    return found


def show(value: object) -> str:
    """A figure as it is printed."""
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def measure_all(
    measure: Callable[[str, int, float], dict[str, Any]], kinds: list[str], sizes: list[int], seconds: float
) -> list[dict[str, Any]]:
    """Every kind in every size, each printed when it is there."""
    results = []
    for kind in kinds:
        for size in sizes:
            results.append(measure(kind, size, seconds))
            print("  ".join(f"{name} {show(value)}" for name, value in results[-1].items()), flush=True)
    return results


def write(file: Path | None, results: list[dict[str, Any]]) -> None:
    """The results as JSON, if a file is named."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seconds", type=float, default=3.0, help="per throughput figure")
    parser.add_argument("--whole", action="store_true", help="grow one list to the largest size instead")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    print(f"Python {platform.python_version()}")
    if options.whole:
        results = measure_whole(max(options.sizes))
    else:
        results = measure_all(measure, options.kinds, options.sizes, options.seconds)
    write(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
