"""What the guard costs a request, under real servers: ``python -m benchmarks.request``.

Each variant (bare, a context variable and no more, scope-only, guarded, and guarded with the line tracer kept
armed) is a server process of its own; the load comes from this process over loopback. Rounds are interleaved,
bare, scope-only, guarded, bare, ..., so that whatever else the machine does hits all variants alike; medians
of the per-round ratios are printed. Three ratios, all against bare: throughput; processor time per request,
which a busy machine disturbs less; and the latency that 99 % of the requests stay below. 200 module globals
are watched. Servers are warmed up for some seconds, until the guard has found its pace.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.http_load import load
from benchmarks.request_app import OPTIONS, QUESTION, WATCHED_GLOBALS, flask_app, starlette_app
from examples.serve import serve

CASES = {
    "starlette": ("Starlette on uvicorn", "uvicorn", "/"),
    "ten-waits": ("Starlette, 10 waits of 1 ms", "uvicorn", "/ten-waits"),
    "ten-awaits": ("Starlette, 10 trips round the loop", "uvicorn", "/ten-awaits"),
    "stream": ("Starlette, 100 chunks 1 ms apart", "uvicorn", "/stream"),
    "flask": ("Flask on waitress", "waitress", "/"),
    "gthread": ("Flask on gunicorn gthread", "gunicorn", "/"),
}
BODY = json.dumps(QUESTION).encode()
WARM_UP = 3.0
"""Seconds."""

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
    cpu: float
    median_ms: float
    p99_ms: float
    p99: float


@contextmanager
def server(kind: str, variant: str) -> Iterator[int]:
    """One server process on a free port; yields the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port: int = listener.getsockname()[1]
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "benchmarks.request", "--serve", kind, variant, str(descriptor)]
        if kind == "gunicorn":
            command = [sys.executable, "-m", "gunicorn", f"benchmarks.request_app:flask_app({variant!r})"]
            command += [
                "-k",
                "gthread",
                "--threads",
                "8",
                "--bind",
                f"fd://{descriptor}",
                "--log-level",
                "error",
            ]
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


def serve_variant(kind: str, variant: str, descriptor: int) -> None:
    """The server process: uvicorn or waitress, until standard input closes."""
    app = starlette_app(variant) if kind == "uvicorn" else flask_app(variant)
    with socket.socket(fileno=descriptor) as listener:
        serve(app, listener, threads=8)


def cpu_seconds(port: int) -> float:
    """Processor seconds that the server process has used, by its own account."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/cpu", timeout=30) as answer:
        return float(json.load(answer))


def one_round(port: int, path: str, seconds: float, connections: int) -> Round:
    """Load one server for ``seconds``."""
    before = cpu_seconds(port)
    done = asyncio.run(load(port, path, BODY, seconds=seconds, connections=connections))
    used = cpu_seconds(port) - before
    return Round(
        done.per_second,
        1e6 * used / done.answers,
        1e3 * done.percentile(0.5),
        1e3 * done.percentile(0.99),
    )


def measure(case: str, variants: list[str], rounds: int, seconds: float, connections: int) -> list[Result]:
    """All variants of one case, interleaved."""
    name, kind, path = CASES[case]
    taken: dict[str, list[Round]] = {variant: [] for variant in variants}
    with ExitStack() as stack:
        ports = {variant: stack.enter_context(server(kind, variant)) for variant in variants}
        for port in ports.values():  # start up and warm up
            one_round(port, path, WARM_UP, connections)
        for _ in range(rounds):
            for variant, port in ports.items():
                taken[variant].append(one_round(port, path, seconds, connections))
    bare = taken[variants[0]]
    return [
        Result(
            name,
            variant,
            statistics.median(each.requests_per_second for each in mine),
            statistics.median(each.cpu_microseconds for each in mine),
            statistics.median(
                each.requests_per_second / base.requests_per_second
                for each, base in zip(mine, bare, strict=True)
            ),
            statistics.median(
                each.cpu_microseconds / base.cpu_microseconds for each, base in zip(mine, bare, strict=True)
            ),
            statistics.median(each.median_ms for each in mine),
            statistics.median(each.p99_ms for each in mine),
            statistics.median(each.p99_ms / base.p99_ms for each, base in zip(mine, bare, strict=True)),
        )
        for variant, mine in taken.items()
    ]


def _has_control_socket() -> bool:
    """Whether this gunicorn opens a control socket, which several servers in one directory would share."""
    from gunicorn.config import KNOWN_SETTINGS

    return any(setting.name == "control_socket_disable" for setting in KNOWN_SETTINGS)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="per variant and round")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--variants", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, variant, descriptor = options.serve
        serve_variant(kind, variant, int(descriptor))
        return
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    variants = ["bare", *(variant for variant in options.variants if variant != "bare")]
    print(
        f"Python {platform.python_version()}, {WATCHED_GLOBALS} watched globals, "
        f"{options.rounds} interleaved rounds of {options.seconds:g} s, {options.connections} connections"
    )
    print(
        f"{'':36}{'variant':12}{'requests/s':>12}{'CPU µs':>9}{'throughput':>12}{'CPU':>8}"
        f"{'median ms':>12}{'p99 ms':>9}{'p99':>8}"
    )
    results: list[Result] = []
    for case in options.cases or CASES:
        for result in measure(case, variants, options.rounds, options.seconds, options.connections):
            print(
                f"{result.case:36}{result.variant:12}{result.requests_per_second:12,.0f}"
                f"{result.cpu_microseconds:9.0f}{result.throughput:12.3f}{result.cpu:8.3f}"
                f"{result.median_ms:12.2f}{result.p99_ms:9.2f}{result.p99:8.3f}",
                flush=True,
            )
            results.append(result)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
