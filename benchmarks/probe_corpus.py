"""What the probe says of the corpus: reproductions of real leaks, seen from outside, through their answers.

Run: ``python -m benchmarks.probe_corpus``. For each case of ``tests/corpus`` the requests of its script are
sent, every user's name a canary. A leak is *seen* only where an answer shows what was leaked: a list that
nobody reads back is for the guard, not for the probe. ``INCONCLUSIVE`` says that the answers never show a
user its own data, ``PASS`` that they do, but no other's.
"""

from __future__ import annotations

import argparse
import importlib
from collections import Counter
from typing import Any

from stateguard.errors import StateGuardError
from stateguard.probe.explore import Explorer
from stateguard.probe.plan import Plan
from stateguard.probe.requests import Template
from tests.corpus.case import Case
from tests.corpus.catalogue import CASES

NAMES = ("ann-0a51", "bob-7c22", "cyd-93fe", "dan-11b8")


def templates(case: Case) -> list[Template]:
    """The script's requests, each once, users' names replaced by canaries."""
    found: dict[Template, None] = {}
    for request in case.requests:
        target, sends = request.target, request.sends
        for name in NAMES:
            target = target.replace(name, "{canary}")
            sends = tuple(text.replace(name, "{canary}") for text in sends) if sends is not None else None
        found[Template("GET" if sends is None else "WS", target, messages=sends or ())] = None
    return list(found)


def verdict(case: Case) -> tuple[str, str, str]:
    """The verdict, what was proven, and what carried it."""
    module: Any = importlib.import_module(case.module_name)
    try:
        plan = Plan(templates=templates(case), users=4, requests=100, seconds=20)
        result = Explorer(module.app, plan, protocol=case.protocol).run()
    except StateGuardError as error:
        return "-", str(error).partition(":")[0], ""
    if not result.bled:
        return result.verdict, "", ""
    if result.shrunk is None:
        return result.verdict, "not repeatable", ""
    bleed = result.shrunk.bleeds[0]
    form = f"{len(result.shrunk.requests)} requests, {len(result.shrunk.switches)} switches"
    return result.verdict, form, bleed.carriers[0].partition(" by ")[0] if bleed.carriers else ""


def main() -> None:
    """Print a row per case, and the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only cases whose name contains one of these")
    arguments = parser.parse_args()
    sums: dict[str, Counter[str]] = {"leak": Counter(), "harmless": Counter()}
    for case in CASES:
        if arguments.words and not any(word in case.name for word in arguments.words):
            continue
        said, form, carrier = verdict(case)
        sums[case.kind][said] += 1
        print(
            f"{case.name:28} {case.kind:9} {case.protocol:5} {said:13} {form:24} {carrier}".rstrip(),
            flush=True,
        )
    for kind, counts in sums.items():
        print(f"{kind}: " + ", ".join(f"{count} {said}" for said, count in counts.most_common()))


if __name__ == "__main__":
    main()
