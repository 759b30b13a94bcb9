"""What a per-request global costs: scoped() next to a plain list and to werkzeug's LocalProxy.

Run: ``python -m benchmarks.scoped``. Prints the cost of one request scope, of each operation as a multiple of
the same operation on a plain list, and what importing each costs in a fresh interpreter.
"""

from __future__ import annotations

import subprocess
import sys
import timeit

from werkzeug.local import LocalProxy

from stateguard import current_scope, open_scope, scoped

NUMBER = 2_000
"""Of one measurement: some milliseconds, so that the best of many falls into an undisturbed moment."""

ROUNDS = 200
OPERATIONS = ("x[0]", "len(x)", "3 in x", "x == plain", "isinstance(x, list)", "x.append(4); x.pop()")

HISTORY = scoped(list)


def best(code: str, *worlds: dict[str, object]) -> list[float]:
    """Seconds that one run of ``code`` takes in each of the worlds, measured in turn, the best of many."""
    timers = [timeit.Timer(code, globals=names) for names in worlds]
    rounds = [[timer.timeit(NUMBER) / NUMBER for timer in timers] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*rounds, strict=True)]


def import_time(module: str) -> float:
    """Seconds that importing ``module`` takes on top of starting the interpreter, the best of five."""
    program = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    runs = [subprocess.check_output([sys.executable, "-c", program], timeout=60) for _ in range(5)]
    return min(map(float, runs))


def main() -> None:
    def cycle() -> None:
        scope = open_scope()
        token = scope.enter()
        scope.leave(token)
        scope.close()

    print(f"open + enter + leave + close: {best('cycle()', {'cycle': cycle})[0] * 1e6:.2f} us")
    with open_scope() as scope:
        plain = [1, 2, 3]
        HISTORY.extend(plain)
        key = object()
        scope.values[key] = list(plain)
        theirs = LocalProxy(lambda: current_scope().values[key])
        print(f"{'operation':24}{'plain':>9}{'scoped':>18}{'LocalProxy':>20}")
        for code in OPERATIONS:
            base, ours, other = best(code, *({"x": x, "plain": plain} for x in (plain, HISTORY, theirs)))
            print(
                f"{code:24}{base * 1e9:6.0f} ns{ours * 1e9:8.0f} ns ({ours / base:4.1f}x)"
                f"{other * 1e9:9.0f} ns ({other / base:4.1f}x)"
            )
    for module in ("stateguard", "werkzeug.local"):
        print(f"import {module:17}{import_time(module) * 1e3:7.1f} ms")


if __name__ == "__main__":
    main()
