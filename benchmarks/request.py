"""What the guard costs a request, under real servers: ``python -m benchmarks.request``.

Bare, a context variable and no more, scope-only, guarded, and guarded with the line tracer kept armed. Load
comes from this process over loopback. The variants share one server process and take turns in it, because two
processes of the same program differ by more than what is measured (``--apart`` gives each one of its own all
the same); ``armed`` shares one with ``bare`` alone. Turns are short and their order is drawn anew for each
round, so that whatever else the machine does hits all variants alike. Each variant is warmed up until its
guard has found its pace: in the first second of a burst a guard looks more closely, see stateguard.pace.

Printed are medians of the ratios per round. Three ratios, all against bare: throughput; processor time per
request, which a busy machine disturbs less; and the latency that 99 % of the requests stay below. Behind the
throughput stands between what its true median lies, with 95 % certainty: a handful of rounds says little.
``again`` is a second bare variant: what it differs from the first one by is what the benchmark is out by. 200
module globals are watched.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from math import comb
from pathlib import Path
from random import shuffle

from benchmarks.http_load import load
from benchmarks.request_app import OPTIONS, QUESTION, WATCHED_GLOBALS
from benchmarks.request_turns import PATH, ASGITurns, WSGITurns
from examples.serve import serve_asgi, serve_wsgi

CASES = {
    "starlette": ("Starlette on uvicorn", "uvicorn", "/"),
    "ten-waits": ("Starlette, 10 waits of 1 ms", "uvicorn", "/ten-waits"),
    "ten-awaits": ("Starlette, 10 trips round the loop", "uvicorn", "/ten-awaits"),
    "stream": ("Starlette, 100 chunks 1 ms apart", "uvicorn", "/stream"),
    "flask": ("Flask on waitress", "waitress", "/"),
    "gthread": ("Flask on gunicorn gthread", "gunicorn", "/"),
}
LONGER = {"stream": 4}
"""So many times as long as the others' are these cases' turns: one answer takes a tenth of a second."""

BODY = json.dumps(QUESTION).encode()
WARM_UP = 3.0
"""Seconds for which each variant is warmed up once."""

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Round:
    """One variant's share of one round."""

    requests_per_second: float
    cpu_microseconds: float
    median_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """One variant of one case: medians, and ratios against the bare variant of the same round."""

    case: str
    variant: str
    requests_per_second: float
    cpu_microseconds: float
    throughput: float
    throughput_low: float
    throughput_high: float
    cpu: float
    median_ms: float
    p99_ms: float
    p99: float


@contextmanager
def server(kind: str, variants: list[str]) -> Iterator[int]:
    """One server process on a free port, for variants that take turns; yields the port."""
    names = ",".join(variants)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port: int = listener.getsockname()[1]
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "benchmarks.request", "--serve", kind, names, str(descriptor)]
        if kind == "gunicorn":
            command = [sys.executable, "-m", "gunicorn", f"benchmarks.request_turns:wsgi_turns({names!r})"]
            command += ["-k", "gthread", "--threads", "8"]
            command += ["--bind", f"fd://{descriptor}", "--log-level", "error"]
            command += ["--no-control-socket"] if _has_control_socket() else []
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[descriptor], stdin=subprocess.PIPE)
    try:
        yield port
    finally:
        assert process.stdin is not None
        process.stdin.close()
        if kind == "gunicorn":
            process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def serve_variants(kind: str, variants: list[str], descriptor: int) -> None:
    """The server process: uvicorn or waitress, until standard input closes."""
    with socket.socket(fileno=descriptor) as listener:
        if kind == "uvicorn":
            serve_asgi(ASGITurns(variants), listener)
        else:
            serve_wsgi(WSGITurns(variants), listener, threads=8)


def cpu_seconds(port: int) -> float:
    """Processor seconds that the server process has used, by its own account."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/cpu", timeout=30) as answer:
        return float(json.load(answer))


def one_turn(port: int, variant: str, path: str, settle: float, seconds: float, connections: int) -> Round:
    """Load one variant for ``settle`` seconds that do not count and ``seconds`` that do."""
    urllib.request.urlopen(f"http://127.0.0.1:{port}{PATH}{variant}", timeout=30).close()
    before = cpu_seconds(port)
    done = asyncio.run(load(port, path, BODY, settle=settle, seconds=seconds, connections=connections))
    used = cpu_seconds(port) - before
    return Round(
        done.per_second,
        1e6 * used / done.total,
        1e3 * done.percentile(0.5),
        1e3 * done.percentile(0.99),
    )


def groups(variants: list[str], apart: bool) -> list[list[list[str]]]:
    """Which variants are compared, the first one with each other, and which of those share a process."""
    if apart:
        return [[[variant] for variant in variants]]
    # An armed tracer is armed for the process, and a guard that looks closely makes others do so.
    shared = [variant for variant in variants if variant != "armed"]
    found = [[shared]] if len(shared) > 1 or "armed" not in variants else []
    return [*found, [["bare", "armed"]]] if "armed" in variants else found


def measure(
    case: str, processes: list[list[str]], rounds: int, settle: float, seconds: float, connections: int
) -> list[Result]:
    """Some variants of one case, interleaved: all in comparison with the first."""
    name, kind, path = CASES[case]
    settle, seconds = settle * LONGER.get(case, 1), seconds * LONGER.get(case, 1)
    taken: dict[str, list[Round]] = {variant: [] for variants in processes for variant in variants}
    with ExitStack() as stack:
        ports = {
            variant: port
            for variants in processes
            for port in [stack.enter_context(server(kind, variants))]
            for variant in variants
        }
        for variant, port in ports.items():  # start up and warm up
            one_turn(port, variant, path, 0, WARM_UP, connections)
        order = list(ports.items())
        for _ in range(rounds):
            shuffle(order)
            for variant, port in order:
                taken[variant].append(one_turn(port, variant, path, settle, seconds, connections))
    bare = next(iter(taken.values()))
    return [summary(name, variant, mine, bare) for variant, mine in taken.items()]


def summary(case: str, variant: str, mine: list[Round], bare: list[Round]) -> Result:
    """Medians of a variant's figures, and of their ratios to the bare ones of the same round."""
    pairs = list(zip(mine, bare, strict=True))
    throughputs = [each.requests_per_second / base.requests_per_second for each, base in pairs]
    return Result(
        case,
        variant,
        statistics.median(each.requests_per_second for each in mine),
        statistics.median(each.cpu_microseconds for each in mine),
        statistics.median(throughputs),
        *bounds_of_median(throughputs),
        statistics.median(each.cpu_microseconds / base.cpu_microseconds for each, base in pairs),
        statistics.median(each.median_ms for each in mine),
        statistics.median(each.p99_ms for each in mine),
        statistics.median(each.p99_ms / base.p99_ms for each, base in pairs),
    )


def bounds_of_median(values: list[float]) -> tuple[float, float]:
    """Between what the median lies that ``values`` are a sample of, with 95 % certainty.

    Whatever they are like, so many are below it as heads come up when a coin is thrown for each.
    """
    values, chance = sorted(values), 0.0
    for left_out in range(len(values)):
        chance += 2 * comb(len(values), left_out) / 2 ** len(values)
        if chance > 0.05:
            break
    left_out = max(left_out - 1, 0)  # of fewer than six the ends are all that can be said
    return values[left_out], values[-1 - left_out]


def _has_control_socket() -> bool:
    """Whether this gunicorn opens a control socket, which several servers in one directory would share."""
    from gunicorn.config import KNOWN_SETTINGS

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.4, help="per turn")
    parser.add_argument("--settle", type=float, default=0.1, help="seconds of a turn that do not count")
    parser.add_argument("--objects", type=int, default=0, help="so many more objects are watched")
    parser.add_argument("--apart", action="store_true", help="a process for each variant")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--variants", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, names, descriptor = options.serve
        serve_variants(kind, names.split(","), int(descriptor))
        return
    os.environ["BENCHMARK_OBJECTS"] = str(options.objects)  # of the server processes
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    variants = ["bare", *(variant for variant in options.variants if variant != "bare")]
    print(
        f"Python {platform.python_version()}, {WATCHED_GLOBALS} globals and {options.objects:,} objects, "
        f"{options.rounds} rounds of {options.settle:g} + {options.seconds:g} s per turn, "
        f"{options.connections} connections, "
        + ("a process for each variant" if options.apart else "variants take turns in one process")
    )
    print(
        f"{'':36}{'variant':12}{'requests/s':>12}{'CPU µs':>9}{'throughput':>22}{'CPU':>8}"
        f"{'median ms':>12}{'p99 ms':>9}{'p99':>8}"
    )
    results: list[Result] = []
    plan = groups(variants, options.apart)
    for case, processes in product(options.cases or CASES, plan):
        for result in measure(
            case, processes, options.rounds, options.settle, options.seconds, options.connections
        ):
            print(
                f"{result.case:36}{result.variant:12}{result.requests_per_second:12,.0f}"
                f"{result.cpu_microseconds:9.0f}{result.throughput:8.3f}"
                f" ({result.throughput_low:.3f}-{result.throughput_high:.3f}){result.cpu:8.3f}"
                f"{result.median_ms:12.2f}{result.p99_ms:9.2f}{result.p99:8.3f}",
                flush=True,
            )
            results.append(result)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
