"""What one check costs, against other ways to notice a change: ``python -m benchmarks.check``.

The watched state is a chat service's: users with messages, each message a dictionary of strings. All methods
look at the same unchanged objects in the same run, so read the ratios, not the times:

* bare pass: one ``gc.get_referents`` call over the same containers; what no check of this kind can beat
* pickle: ``pickle.dumps`` and a hash of the bytes
* joblib: ``joblib.hash``
* DeepHash: ``deepdiff.DeepHash``
* deepcopy: ``copy.deepcopy`` and ``==`` with the copy
* compare: only ``==`` with a deep copy made earlier. Cheap here, as the copy shares the strings, and unsound:
  it runs the application's ``__eq__`` and takes an equal object for the same one

The methods take turns, and the quickest call of each counts: other work on the machine only ever adds time.
The garbage collector is off meanwhile. A method that would take more than the budget (``--budget``, seconds)
at a size is not run there.
"""

from __future__ import annotations

import argparse
import copy
import gc
import hashlib
import json
import pickle
import platform
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
from deepdiff import DeepHash

from stateguard.watch.watcher import Watcher

ROUNDS = 9
SLOW = 1.0
"""Seconds that a method may take in all rounds before it has no more turns at this size."""

MESSAGES = 20
TEXT = "What a customer writes to a support agent is about as long as this line of text, give or take. "
SIZES = (1_000, 10_000, 21_000, 100_000, 1_000_000)
"""Containers in the watched state; 21,000 is the 1,000 users with 20 messages each of the targets."""

TARGETS = {"bare pass": (2.0, "at most"), "pickle": (2.0, "at least"), "joblib": (50.0, "at least")}
TARGETS["DeepHash"] = (150.0, "at least")

TURNS = ("check", "bare pass")
"""Run once at each size, whatever the budget."""

Histories = dict[str, list[dict[str, str]]]


def chat_histories(containers: int) -> Histories:
    """Users with 20 messages each, about ``containers`` lists and dictionaries in all."""
    return {
        f"user-{user}": [
            {"role": "user" if turn % 2 == 0 else "assistant", "content": f"{user}.{turn} {TEXT}"}
            for turn in range(MESSAGES)
        ]
        for user in range(max(1, containers // (MESSAGES + 1)))
    }


def containers_of(histories: Histories) -> list[Any]:
    """Every list and dictionary: what the bare pass passes over."""
    found: list[Any] = [histories, *histories.values()]
    for messages in histories.values():
        found.extend(messages)
    return found


def watch(histories: Histories) -> Watcher:
    """A watcher whose baseline is these histories, as a module's global."""
    module = types.ModuleType("benchmark_state")
    module.HISTORIES = histories
    sys.modules[module.__name__] = module
    watcher = Watcher([module.__name__], process=False)
    watcher.start()
    assert watcher.check() == [], "nothing has changed"
    return watcher


def methods(histories: Histories) -> dict[str, Callable[[], object]]:
    """What is timed, by name: the check, the bare pass, and the others."""
    containers = containers_of(histories)
    watcher = watch(histories)
    saved = copy.deepcopy(histories)
    return {
        "check": watcher.check,
        "bare pass": lambda: gc.get_referents(*containers),
        "pickle": lambda: hashlib.blake2b(pickle.dumps(histories, 5)).digest(),
        "compare": lambda: histories == saved,
        "deepcopy": lambda: copy.deepcopy(histories) == histories,
        "joblib": lambda: joblib.hash(histories),
        "DeepHash": lambda: DeepHash(histories)[histories],
    }


def seconds_of(method: Callable[[], object]) -> float:
    """The quickest of a few calls: of one that takes longer than 50 ms, of many that are quick."""
    best = float("inf")
    started = time.perf_counter()
    while True:
        before = time.perf_counter()
        method()
        now = time.perf_counter()
        best = min(best, now - before)
        if now - started > 0.05:
            return best


def measure(size: int, budget: float, rate: dict[str, float]) -> dict[str, float]:
    """Seconds per method at one size. ``rate`` carries each method's seconds per container between sizes."""
    histories = chat_histories(size)
    count = len(containers_of(histories))
    taken: dict[str, float] = {}
    spent: dict[str, float] = {}
    every = methods(histories)
    gc.collect()
    gc.disable()
    try:
        for turn in range(ROUNDS):
            for name, method in every.items():
                # A slow method has its turn once, or not at all; the others are interleaved.
                over = rate.get(name, 0.0) * count > budget or (turn and spent[name] > SLOW)
                if over and (name not in TURNS or turn):
                    continue
                seconds = seconds_of(method)
                spent[name] = spent.get(name, 0.0) + seconds
                taken[name] = min(seconds, taken.get(name, seconds))
    finally:
        gc.enable()
    rate.update((name, seconds / count) for name, seconds in taken.items())
    del sys.modules["benchmark_state"]
    return taken


def main() -> int:
    """Measure, print, and say whether the targets are reached at 1,000 users with 20 messages each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds that one method may take at one size"
    )
    parser.add_argument("--json", type=Path, help="also write the seconds to this file")
    options = parser.parse_args()
    names = ("bare pass", "compare", "pickle", "deepcopy", "joblib", "DeepHash")
    print(f"Python {platform.python_version()}; how many times a check's duration each of these takes")
    print(f"{'containers':>12}{'one check':>12}" + "".join(f"{name:>11}" for name in names))
    rate: dict[str, float] = {}
    everything = {}
    if min(options.sizes) > SIZES[0]:  # what a method takes there has to be known from somewhere
        measure(SIZES[0], options.budget, rate)
    for size in options.sizes:
        taken = measure(size, options.budget, rate)
        check = taken["check"]
        cells = (f"{taken[name] / check:10.2f}x" if name in taken else f"{'-':>11}" for name in names)
        print(f"{size:12,}{check * 1e3:9.3f} ms" + "".join(cells), flush=True)
        everything[size] = taken
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(everything, indent=1))
    return report_targets(everything[21_000]) if 21_000 in everything else 0


def report_targets(taken: dict[str, float]) -> int:
    """Print which targets are reached; return the number of those that are not."""
    missed = 0
    print("\n1,000 users with 20 messages each:")
    for name, (limit, word) in TARGETS.items():
        if name not in taken:
            continue
        if word == "at most":
            ratio = taken["check"] / taken[name]
            reached, text = ratio <= limit, f"a check takes {ratio:.2f}x the {name}"
        else:
            ratio = taken[name] / taken["check"]
            reached, text = ratio >= limit, f"{name} takes {ratio:.2f}x a check"
        missed += not reached
        print(f"  {'reached' if reached else 'MISSED '}  {text} (target: {word} {limit:g}x)")
    return missed


if __name__ == "__main__":
    sys.exit(main())
