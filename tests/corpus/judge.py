"""Run one case under the guard, and say what the guard got right."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass
from typing import Any

from stateguard import Guard
from stateguard.leak import Leak, at_least
from tests.corpus import carriers, drive
from tests.corpus.case import Case, Truth, matches
from tests.corpus.naive import BeforeAfter


@dataclass(frozen=True, slots=True)
class Finding:
    """What was said of one true leak."""

    truth: Truth
    leaks: tuple[Leak, ...]
    """Those at the right path."""
    right_request: bool
    """Exact ones name a guilty request, suspected ones list one; and at least one is there."""
    exact: bool
    right_line: bool
    """Every located one is on a marked line, and at least one is located."""

    @property
    def found(self) -> bool:
        return bool(self.leaks)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one run of one case."""

    case: Case
    outcomes: dict[str, str]
    leaks: tuple[Leak, ...]
    findings: tuple[Finding, ...]
    innocents_accused: tuple[str, ...]
    high: tuple[Leak, ...]
    naive_found: bool
    naive_accused: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Something was reported of the application's state, be the path right or not."""
        return bool(self.leaks)

    @property
    def right_path(self) -> bool:
        return bool(self.findings) and all(finding.found for finding in self.findings)

    @property
    def right_request(self) -> bool:
        return bool(self.findings) and all(finding.right_request for finding in self.findings)

    @property
    def right_line(self) -> bool:
        return bool(self.findings) and all(finding.right_line for finding in self.findings)

    @property
    def exact(self) -> bool:
        return bool(self.findings) and all(finding.exact for finding in self.findings)


def load(case: Case) -> Any:
    """The case's application, imported afresh: every run begins with untouched state."""
    for name in [
        name for name in sys.modules if name == case.module_name or name.startswith(case.module_name + ".")
    ]:
        del sys.modules[name]
    importlib.invalidate_caches()
    module = importlib.import_module(case.module_name)
    return (
        carriers.build(case.protocol, case.carrier, getattr(module, case.deed)) if case.deed else module.app
    )


def run(case: Case, *, on_leak: Any = "log", locate: str = "always", **options: Any) -> Verdict:
    """Serve the case's script under a guard, with the naive snapshot around it."""
    app = load(case)
    outcomes = drive.run(case.protocol, app, case.warm_up)
    logger = logging.getLogger("stateguard")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    naive = BeforeAfter([case.module_name])
    guard = Guard(watch=case.watch, on_leak=on_leak, locate=locate, **options)
    try:
        wrapped = getattr(guard, case.protocol)(app)
        outcomes |= drive.run(case.protocol, getattr(naive, case.protocol)(wrapped), case.script)
        leaks = tuple(guard.leaks)
    finally:
        guard.close()
        logger.setLevel(level)
    accused = {leak.request.id for leak in leaks if leak.request is not None and leak.confidence == "exact"}
    return Verdict(
        case,
        outcomes,
        leaks,
        tuple(_judge(case, truth, leaks) for truth in case.truths),
        tuple(sorted(accused & case.innocent)) if case.kind == "leak" else (),
        tuple(leak for leak in leaks if at_least(leak.severity, "high")),
        any(naive.accused),
        tuple(sorted(set(naive.accused) & case.innocent)),
    )


def _judge(case: Case, truth: Truth, leaks: tuple[Leak, ...]) -> Finding:
    here = tuple(leak for leak in leaks if matches(truth.path, leak.path))
    exact = [leak for leak in here if leak.confidence == "exact"]
    right = bool(here) and all(
        leak.request is not None and leak.request.id in case.guilty
        if leak.confidence == "exact"
        else bool({suspect.id for suspect in leak.suspects} & case.guilty)
        for leak in here
    )
    located = [leak.location for leak in here if leak.location is not None]
    lines = case.lines(truth)
    on_line = bool(located) and all((place.file, place.line) in lines for place in located)
    return Finding(truth, here, right, bool(exact), on_line)
