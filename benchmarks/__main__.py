"""All benchmarks of cost, in bounded time: ``python -m benchmarks``.

Runs, each in a process of its own, ``benchmarks.check`` (one check against other ways to notice a change),
``benchmarks.request`` (real servers, load from another process), ``benchmarks.large`` (state too large to
be compared at once), ``benchmarks.growing`` (a leak that grows with each request), ``benchmarks.churn``
(objects that come, go and move), ``benchmarks.scaling`` (concurrency and worker processes) and
``benchmarks.startup`` (imports). Writes their figures as JSON and as plots below ``--out``, and appends the
ratios to ``history.jsonl`` there: what has become worse by more than a tenth is said. Some minutes, none of
the seven more than ten; with ``--quick`` about two, for figures that say little. The exit code is the number
of regressions.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import history

ROOT = Path(__file__).resolve().parent.parent

FULL = {
    "check": ["--sizes", "1000", "10000", "21000", "100000", "1000000", "--budget", "10"],
    "request": ["--rounds", "30", "--variants", "bare", "variable", "scope-only", "guarded"],
    "large": ["--sizes", "10000", "100000", "1000000", "--seconds", "4"],
    "growing": ["--seconds", "2"],
    "churn": ["--sizes", "1000", "10000", "100000", "--seconds", "2"],
    "scaling": [],
    "startup": [],
}
QUICK = {
    "check": ["--sizes", "1000", "10000", "--budget", "1"],
    "request": ["starlette", "flask", "--rounds", "2", "--seconds", "0.5", "--settle", "0.5"],
    "large": ["--sizes", "10000", "--seconds", "1", "--leaks", "1"],
    "growing": ["--sizes", "1000", "100000", "--kinds", "list", "--seconds", "0.5"],
    "churn": ["--sizes", "1000", "--seconds", "0.5"],
    "scaling": ["--connections", "8", "--workers", "2", "--rounds", "2", "--seconds", "0.5"],
    "startup": ["--rounds", "3"],
}
LIMIT = 600
"""Seconds after which one of them is given up."""


def run(name: str, arguments: list[str], out: Path) -> Any:
    """One benchmark; its figures, or ``None`` if it has none."""
    print(f"\n== {name}", flush=True)
    file = out / f"{name}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json", str(file)]
    try:
        subprocess.run(command, cwd=ROOT, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        print(f"given up after {LIMIT} seconds")
    return json.loads(file.read_text()) if file.is_file() else None


def figures_of(taken: dict[str, Any]) -> dict[str, float]:
    """The ratios that the history keeps."""
    found: dict[str, float] = {}
    for size, ways in (taken["check"] or {}).items():
        found[f"check of {size} / bare pass"] = ways["check"] / ways["bare pass"]
    for result in taken["request"] or ():
        if result["variant"] != "bare":
            found[f"{result['case']}, {result['variant']}: throughput"] = result["throughput"]
    for result in taken["large"] or ():
        found[f"{result['objects']:.0f} objects: throughput"] = result["throughput"]
        found[f"{result['objects']:.0f} objects: bytes per object"] = result["bytes per object"]
    for result in taken["growing"] or ():
        found[f"growing {result['kind']} of {result['items']}: throughput"] = result["throughput"]
    for result in taken["churn"] or ():
        found[f"{result['kind']} of {result['objects']}: throughput"] = result["throughput"]
    for result in taken["scaling"] or ():
        name = f"{result['connections']} connections, {result['workers']} workers"
        found[f"{name}: throughput"] = result["throughput"]
    return found


def draw(taken: dict[str, Any], out: Path) -> None:
    """The plots, if matplotlib is there."""
    try:
        from benchmarks import plots
    except ImportError:
        print("no plots: matplotlib is not installed (pip install -e '.[bench]')")
        return
    plan = {
        "check": plots.cost_by_size,
        "request": plots.throughput,
        "large": plots.pauses,
        "growing": plots.growing,
        "scaling": plots.scaling,
    }
    for name, plot in plan.items():
        if taken[name]:
            plot(taken[name], out / f"{name}.svg")
    if taken["request"]:
        plots.latency(taken["request"], out / "latency.svg")


def main() -> int:
    """Run, draw, compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the time, for figures that say little"
    )
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    plan = QUICK if options.quick else FULL
    taken = {name: run(name, arguments, out) for name, arguments in plan.items()}
    draw(taken, out)
    figures = figures_of(taken)
    python = platform.python_version()
    file = out / ("history-quick.jsonl" if options.quick else "history.jsonl")
    worse = history.regressions(figures, history.earlier(file, python))
    history.add(file, python, figures)
    print(f"\n{len(figures)} ratios added to {file}")
    for line in worse:
        print(f"  WORSE  {line}")
    return len(worse)


if __name__ == "__main__":
    sys.exit(main())
