"""``python -m compat [SUITE ...]``: exit code 1 if an outcome has changed, 2 if a suite could not run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compat.compare import Comparison, compare
from compat.page import details, keep, row, table, write
from compat.prepare import NotReady, python_of, source_of
from compat.run import Runner
from compat.suites import SUITES, Suite


def main() -> int:
    """Run the suites that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m compat", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"default: all of {', '.join(SUITES)}")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "stateguard-compat")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put all results into this page")
    options = parser.parse_args()
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        parser.error(f"unknown suite {', '.join(unknown)}; known: {', '.join(SUITES)}")
    work = options.work.resolve()
    results: dict[str, tuple[Suite, Comparison]] = {}
    not_run = []
    for suite in (SUITES[name] for name in options.suites or SUITES):
        print(f"── {suite.name}", flush=True)
        try:
            source = source_of(suite, work)
            python = python_of(suite, source, work)
        except NotReady as error:
            print(error)
            not_run.append(suite.name)
            continue
        result = compare(Runner(suite, source, python, work))
        title = source.name.replace("-", " ")
        results[title] = suite, result
        if result.plain.finished and result.guarded.finished:
            keep(work / "results", title, suite, result)
        print(table([row(title, result)]))
        plain, guarded = result.plain, result.guarded
        print(f"plain {plain.seconds:.0f} s, guarded {guarded.seconds:.0f} s; {guarded.log}")
        for line in details(suite, result):
            print(line)
    if len(results) > 1:
        print("\n" + table([row(title, result) for title, (_, result) in results.items()]))
    if options.write is not None:
        write(options.write, work / "results")
    if not_run or not all(result.proves_something for _, result in results.values()):
        return 2
    return 0 if all(result.good for _, result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
