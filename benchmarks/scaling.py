"""Throughput by concurrency and by worker processes: ``python -m benchmarks.scaling``.

A Starlette JSON endpoint under uvicorn, bare and guarded with 200 watched globals, once with more and more
connections at one process, once with more and more worker processes. Each worker has a guard of its own.
Rounds are interleaved; medians of the per-round ratios are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.http_load import load
from benchmarks.request import BODY, ROOT, WARM_UP

VARIANTS = ("bare", "guarded")


@contextmanager
def server(variant: str, workers: int) -> Iterator[int]:
    """Uvicorn with so many worker processes on a free port; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.scaling:{variant}_app", "--factory"]
    command += ["--port", str(port), "--workers", str(workers), "--log-level", "error", "--no-access-log"]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        _until_served(port)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def bare_app() -> Any:
    """The application without a guard."""
    from benchmarks.request_app import starlette_app

    return starlette_app("bare", None)


def guarded_app() -> Any:
    """The application with one."""
    from benchmarks.request_app import guard_of, starlette_app

    return starlette_app("guarded", guard_of("guarded"))


def _until_served(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/cpu", timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server does not answer")


def measure(connections: int, workers: int, rounds: int, seconds: float) -> dict[str, float]:
    """Both variants, interleaved: medians, and the guarded one's share of the bare one's."""
    taken: dict[str, list[tuple[float, float]]] = {variant: [] for variant in VARIANTS}
    with ExitStack() as stack:
        ports = {variant: stack.enter_context(server(variant, workers)) for variant in VARIANTS}
        for port in ports.values():
            asyncio.run(load(port, "/", BODY, seconds=WARM_UP, connections=connections))
        for _ in range(rounds):
            for variant, port in ports.items():
                done = asyncio.run(load(port, "/", BODY, seconds=seconds, connections=connections))
                taken[variant].append((done.per_second, done.percentile(0.99) * 1e3))
    bare, guarded = taken["bare"], taken["guarded"]
    return {
        "connections": connections,
        "workers": workers,
        "bare": statistics.median(each for each, _ in bare),
        "guarded": statistics.median(each for each, _ in guarded),
        "throughput": statistics.median(g / b for (g, _), (b, _) in zip(guarded, bare, strict=True)),
        "p99": statistics.median(g / b for (_, g), (_, b) in zip(guarded, bare, strict=True)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 8, 32, 128])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1.5, help="per variant and round")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    plan = [(connections, 1) for connections in options.connections]
    plan += [(32, workers) for workers in options.workers if (32, workers) not in plan]
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {options.rounds} rounds")
    print(f"{'connections':>12}{'workers':>9}{'bare/s':>10}{'guarded/s':>11}{'throughput':>12}{'p99':>8}")
    results = []
    for connections, workers in plan:
        result = measure(connections, workers, options.rounds, options.seconds)
        results.append(result)
        print(
            f"{connections:12}{workers:9}{result['bare']:10,.0f}{result['guarded']:11,.0f}"
            f"{result['throughput']:12.3f}{result['p99']:8.3f}",
            flush=True,
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
