"""What importing the middleware adds to an application that already imports its framework.

``python -m benchmarks.startup``: fresh interpreters, interleaved, one that imports Starlette or Flask and one
that imports the middleware as well; the medians of the times, taken inside, and their difference.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

CASES = {
    "Starlette": ("starlette.applications, starlette.routing, starlette.responses", "stateguard.asgi"),
    "Flask": ("flask", "stateguard.wsgi"),
}


def milliseconds(modules: str) -> float:
    """Milliseconds that a fresh interpreter takes to import ``modules``."""
    code = f"import time; t = time.perf_counter(); import {modules}; print((time.perf_counter() - t) * 1e3)"
    # Compiled once, as what is installed is.
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings)
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, medians of {options.rounds} interleaved rounds")
    results = {}
    for name, (framework, middleware) in CASES.items():
        alone, both = [], []
        for n in range(options.rounds + 1):
            taken = milliseconds(framework), milliseconds(f"{framework}, {middleware}")
            if n:  # the first one reads from disk
                alone.append(taken[0])
                both.append(taken[1])
        added = statistics.median(b - a for a, b in zip(alone, both, strict=True))
        results[name] = {"alone ms": statistics.median(alone), "added ms": added}
        print(
            f"{name:12} {statistics.median(alone):7.1f} ms, the middleware adds {added:5.1f} ms", flush=True
        )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
