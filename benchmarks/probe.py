"""Who finds seeded races, within how many schedules, and how fast: the probe, plain load, and other tools.

Run: ``python -m benchmarks.probe`` with the ``bench`` extra installed. Every tool is given the same generated
applications (:mod:`benchmarks.probe_apps`), one after the other, in a process of its own, and asked the same
question: was a user answered with another user's text? ``--apps`` and ``--schedules`` change the size.

What each tool is given, and why:

- **probe**: the application, over ASGI or WSGI, 200 requests at most.
- **plain load**: the same requests, 8 users at once and one after the other, without a scheduler.
- **detangle**, **frontrun** (DPOR and random): two calls of the handler itself, state reset before each run
  and their answers compared. They know neither requests nor canaries, so the harness does that for them.
- **raceguard**: 8 threads or tasks, each calling the handler three times, the state wrapped in ``protect()``,
  strict mode. It does not look at answers at all: it reports access without a lock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import inspect
import io
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.probe_apps import KINDS, write

LIMIT = 20
"""Seconds that a tool may take for one application."""

CHAT = 'POST /chat {"message": "{canary}"}'
A, B = "alice-4711-text", "bob-0815-text"


class OverTime(BaseException):
    pass


def _crossed(answers: dict[str, str]) -> bool:
    return B in answers.get(A, "") or A in answers.get(B, "")


# -- the tools: each takes a module and returns (found, schedules) ------------------------------------


def probe(module: Any, entry: dict[str, Any], schedules: int) -> tuple[bool, int]:
    from stateguard.probe.explore import Explorer
    from stateguard.probe.plan import Plan
    from stateguard.probe.requests import parse

    plan = Plan(templates=[parse(CHAT)])
    explorer = Explorer(module.app, plan, protocol="wsgi" if entry["threads"] else "asgi", guarded=False)
    explorer._make_small = lambda script: None  # the others do not shrink, either
    result = explorer.run()
    return result.verdict == "LEAK", result.schedules


def load(module: Any, entry: dict[str, Any], schedules: int) -> tuple[bool, int]:
    from stateguard.probe.plan import Plan
    from stateguard.probe.requests import parse
    from stateguard.probe.run import Run
    from stateguard.probe.targets import app_target

    target = app_target(module.app, "wsgi" if entry["threads"] else "asgi")
    result = asyncio.run(Run(target, Plan(templates=[parse(CHAT)])).run())
    return result.verdict == "LEAK", 0


def detangle(module: Any, entry: dict[str, Any], schedules: int) -> tuple[bool, int] | str:
    import detangle as tool

    if entry["threads"]:
        return "schedules asyncio tasks only: threads of a WSGI server are not its subject"
    runs = 0

    async def two() -> None:
        nonlocal runs
        runs += 1
        module.reset()
        answers = dict(zip((A, B), await asyncio.gather(module.handle(A), module.handle(B)), strict=True))
        assert not _crossed(answers)

    try:
        tool.explore(two, runs=schedules, seed=1, shrink=False, database=False)
    except tool.BugFound:
        return True, runs
    return False, runs


async def _awaited(result: Any) -> Any:
    return await result


def _frontrun(strategy: str) -> Callable[..., Any]:
    def run(module: Any, entry: dict[str, Any], schedules: int) -> tuple[bool, int] | str:
        import frontrun as tool

        def setup() -> dict[str, str]:
            module.reset()
            return {}

        if entry["threads"]:

            def worker(text: str) -> Callable[[dict[str, str]], Any]:
                def call(answers: dict[str, str]) -> None:
                    answers[text] = module.handle(text)

                return call
        else:

            def worker(text: str) -> Callable[[dict[str, str]], Any]:
                async def call(answers: dict[str, str]) -> None:
                    answers[text] = await module.handle(text)

                return call

        options: dict[str, Any] = {"strategy": strategy}
        if strategy == "dpor":
            options |= {"max_executions": schedules, "total_timeout": LIMIT - 2.0, "reproduce_on_failure": 0}
        else:
            options |= {"max_attempts": schedules, "seed": 1}
        result = tool.explore(setup, [worker(A), worker(B)], lambda answers: not _crossed(answers), **options)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        return result.property_holds is False, result.num_explored

    return run


def raceguard(module: Any, entry: dict[str, Any], schedules: int) -> tuple[bool, int]:
    import raceguard as tool

    tool.configure(strict=True, mode="raise")
    module.STATE = tool.protect(module.fresh())
    found = threading.Event()

    def call(text: str) -> None:
        for _ in range(3):
            try:
                module.handle(text)
            except tool.RaceConditionError:
                found.set()

    async def tasks() -> None:
        async def one(text: str) -> None:
            for _ in range(3):
                try:
                    await module.handle(text)
                except tool.RaceConditionError:
                    found.set()

        await asyncio.gather(*(one(f"user{n}") for n in range(8)))

    if entry["threads"]:
        threads = [threading.Thread(target=call, args=(f"user{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        asyncio.run(tasks())
    return found.is_set(), 0


TOOLS: dict[str, Callable[..., Any]] = {
    "stateguard probe": probe,
    "plain load": load,
    "detangle": detangle,
    "frontrun dpor": _frontrun("dpor"),
    "frontrun random": _frontrun("random"),
    "raceguard": raceguard,
}


def _work(tool: str, directory: str, entries: list[dict[str, Any]], schedules: int, out: Any) -> None:
    sys.path.insert(0, directory)

    def over(*_: Any) -> None:
        raise OverTime

    signal.signal(signal.SIGALRM, over)
    for entry in entries:
        module = importlib.import_module(str(entry["name"]))
        started = time.perf_counter()
        signal.alarm(LIMIT)
        noise = io.StringIO()
        try:
            with contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
                said = TOOLS[tool](module, entry, schedules)
        except OverTime:
            said = f"no end within {LIMIT} seconds"
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}"
        finally:
            signal.alarm(0)
        out.put((entry["name"], said, time.perf_counter() - started))
    out.put(None)


def measure(tool: str, directory: str, entries: list[dict[str, Any]], schedules: int) -> dict[str, Any]:
    """What the tool said of each application: ``(said, seconds)``."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=_work, args=(tool, directory, entries, schedules, out))
    before = dict(os.environ)
    if tool.startswith("frontrun"):
        from frontrun.cli import _build_env, _find_preload_library

        os.environ.update(
            _build_env(_find_preload_library())
        )  # what its command line does: `frontrun python -m ...`
    process.start()
    os.environ.clear()
    os.environ.update(before)
    found: dict[str, Any] = {}
    while True:
        try:
            item = out.get(timeout=LIMIT + 20)
        except Exception:
            process.kill()  # it does not even listen to its alarm: the rest counts as not answered
            break
        if item is None:
            break
        found[item[0]] = item[1:]
    process.join(5)
    for entry in entries:
        found.setdefault(entry["name"], ("hung, and was killed", float(LIMIT)))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--apps", type=int, default=24)
    parser.add_argument("--schedules", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        entries = write(Path(directory), arguments.apps, arguments.seed)
        said = {tool: measure(tool, directory, entries, arguments.schedules) for tool in arguments.tools}
    if arguments.json:
        print(json.dumps(said, indent=1))
        return
    print(f"{arguments.apps} leaking applications, {len(KINDS) * 2} clean; {arguments.schedules} schedules")
    table(said, entries, arguments.schedules)


def table(said: dict[str, dict[str, Any]], entries: list[dict[str, Any]], schedules: int) -> None:
    """A row per tool: found of each kind, clean ones accused, found within 1, 10 and all schedules, time."""
    kinds = [(kind, threads) for threads in (False, True) for kind in KINDS]
    heads = [f"{kind}{'/thr' if threads else ''}" for kind, threads in kinds]
    print(f"{'found':18}" + "".join(f"{head:>13}" for head in heads) + "   accused  in 1/10/all  median s")
    reasons: dict[str, int] = {}
    for tool, answers in said.items():
        cells = []
        for kind, threads in kinds:
            mine = [
                e["name"] for e in entries if (e["kind"], e["threads"], e["clean"]) == (kind, threads, False)
            ]
            usable = [answers[name][0] for name in mine if not isinstance(answers[name][0], str)]
            cells.append(f"{sum(each[0] for each in usable)}/{len(mine)}" if usable else "cannot")
        clean = [answers[e["name"]][0] for e in entries if e["clean"]]
        usable = [each for each in clean if not isinstance(each, str)]
        accused = f"{sum(each[0] for each in usable)}/{len(usable)}"
        leaking = [answers[e["name"]] for e in entries if not e["clean"]]
        hits = [(each[1], seconds) for each, seconds in leaking if not isinstance(each, str) and each[0]]
        within = "/".join(str(sum(0 < n <= most for n, _ in hits)) for most in (1, 10, schedules))
        within = within if any(n for n, _ in hits) else "-"
        median = f"{statistics.median(seconds for _, seconds in hits):.2f}" if hits else "-"
        row = "".join(f"{cell:>13}" for cell in cells)
        print(f"{tool:18}{row}{accused:>10}{within:>13}{median:>10}")
        for answer, _ in answers.values():
            if isinstance(answer, str):
                reasons[f"{tool}: {answer}"] = reasons.get(f"{tool}: {answer}", 0) + 1
    for reason, count in reasons.items():
        print(f"  {reason} ({count} applications)")
    print(
        "  /thr: WSGI, threads. raceguard reports access without a lock, not what was answered: a leak under"
    )
    print("  a lock is none to it. Plain load has no schedules to count.")


if __name__ == "__main__":
    main()
