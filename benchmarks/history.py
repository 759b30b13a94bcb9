"""What earlier runs of the benchmarks have measured, so that a regression shows.

One line of JSON per run. Only ratios within one run are kept: seconds are a matter of the machine and of what
else it does.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

RUNS = 5
"""Earlier runs whose median a new one is compared with."""

TOLERANCE = 0.10
"""Share by which a ratio may be worse than that median before it is called a regression."""


def earlier(file: Path, python: str) -> list[dict[str, float]]:
    """The figures of earlier runs on the same Python, oldest first."""
    if not file.is_file():
        return []
    runs = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    return [run["figures"] for run in runs if run["python"] == python]


def add(file: Path, python: str, figures: dict[str, float]) -> None:
    """Note a run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "python": python, "figures": figures}
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def regressions(figures: dict[str, float], runs: list[dict[str, float]]) -> list[str]:
    """What has become worse. What is called a throughput is better when higher, all else when lower."""
    found = []
    for name, value in figures.items():
        before = [run[name] for run in runs[-RUNS:] if name in run]
        if not before:
            continue
        usual = statistics.median(before)
        worse = usual - value if name.endswith("throughput") else value - usual
        if usual > 0 and worse / usual > TOLERANCE:
            found.append(f"{name}: {value:.3g}, was {usual:.3g} in the median of {len(before)} runs")
    return found
