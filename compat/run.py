"""One run of a suite, plain or guarded: what came out of each test, and what was guarded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compat.suites import Suite

ROOT = Path(__file__).resolve().parent.parent
INSIDE = Path(__file__).with_name("inside")

DJANGO = ("runtests.py", "--settings=django_outcomes", "--parallel=1", "-v1", "--noinput")


@dataclass
class Tally:
    """What was guarded in a run, over all its processes."""

    apps: int = 0
    calls: int = 0
    leaks: int = 0
    nodes: int = 0
    failures: Counter[str] = field(default_factory=Counter)


@dataclass
class Run:
    """``outcomes`` maps each test to ``passed``, ``failed``, ``skipped``, ``xfailed`` or ``xpassed``."""

    outcomes: dict[str, str]
    tally: Tally
    seconds: float
    finished: bool
    log: Path


class Runner:
    """Runs one suite in its environment."""

    def __init__(self, suite: Suite, source: Path, python: Path, work: Path) -> None:
        self.suite = suite
        self._directory = source / suite.directory
        self._python = python
        self._work = work / "runs" / suite.name

    def run(self, guarded: bool, tests: Sequence[str] = (), seconds: float | None = None) -> Run:
        """The whole suite, or only ``tests``. ``finished`` is false when a run took too long or broke off."""
        way = "guarded" if guarded else "plain"
        place = self._work / (f"{way}-again" if tests else way)
        shutil.rmtree(place, ignore_errors=True)
        (place / "tally").mkdir(parents=True)
        log, outcomes = place / "log.txt", place / "outcomes.jsonl"
        begun = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._command(tests),
                cwd=self._directory,
                env=self._environment(guarded, place),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(seconds or self.suite.seconds)
                finished = process.returncode in (0, 1)  # anything else: the run itself has failed
            except subprocess.TimeoutExpired:
                finished = False
            finally:
                _end(process)
        return Run(_read(outcomes), _total(place / "tally"), time.monotonic() - begun, finished, log)

    def _command(self, tests: Sequence[str]) -> list[str]:
        if self.suite.runner == "django":
            return [str(self._python), *DJANGO, *(tests or self.suite.arguments)]
        options = [part for part in self.suite.arguments if not tests or part != "tests"]
        return [
            *(str(self._python), "-m", "pytest", "-p", "outcomes", "-p", "no:cacheprovider", "-q"),
            *options,
            *tests,
        ]

    def _environment(self, guarded: bool, place: Path) -> dict[str, str]:
        paths = [INSIDE / "recording"]
        if guarded:
            paths += [INSIDE / "wrapping", ROOT / "src"]
        plugins = {
            "PYTEST_PLUGINS": "fresh_guard",
            "COMPAT_GUARD_PER_TEST": ":".join(self.suite.guard_per_test),
        }
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            **self.suite.environment,
            **(plugins if guarded else {}),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMPAT_OUTCOMES": str(place / "outcomes.jsonl"),
            "COMPAT_TALLY": str(place / "tally"),
        }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever the run has left behind ends with it: it has a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(file: Path) -> dict[str, str]:
    """One outcome per test; a failure in any of its phases is a failure."""
    outcomes: dict[str, str] = {}
    if not file.exists():
        return outcomes
    for line in file.read_text("utf-8").splitlines():
        test, when, outcome, expected = json.loads(line)
        if expected:
            outcome = "xpassed" if outcome == "passed" else "xfailed"
        known = outcomes.get(test)
        if known == "failed" or (when == "teardown" and outcome != "failed"):
            continue
        if when == "setup" and outcome == "passed":
            outcome = "never ended"  # until its call says otherwise
        outcomes[test] = outcome
    return outcomes


def _total(directory: Path) -> Tally:
    total = Tally()
    for file in directory.glob("*.json"):
        try:
            facts = json.loads(file.read_text("utf-8"))
        except ValueError:  # its process was killed while it wrote
            continue
        total.apps += facts["apps"]
        total.calls += facts["calls"]
        total.leaks += facts["leaks"]
        total.nodes = max(total.nodes, facts["nodes"])
        total.failures.update(facts["failures"])
    return total
