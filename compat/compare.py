"""Two runs of one suite, test by test; what differs is run again until it is clear what it depends on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compat.run import Run, Runner

AGAIN = 3
"""How often a test that differs is run again, each way."""

AT_MOST = 40
"""Tests that are run again; more than that is no flakiness."""


@dataclass
class Comparison:
    """``changed``: by the guard, and not known. ``expected``: as :class:`~compat.suites.Suite` lists them.
    ``unsteady``: differ from run to run, or come out the same when run alone; with what came out.
    """

    plain: Run
    guarded: Run
    changed: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    unsteady: dict[str, str] = field(default_factory=dict)

    @property
    def proves_something(self) -> bool:
        """Whether both runs came to an end and applications were guarded in the second."""
        return self.plain.finished and self.guarded.finished and self.guarded.tally.calls > 0

    @property
    def good(self) -> bool:
        """Whether the guard changed nothing that is not known, and had no fault of its own."""
        return self.proves_something and not self.changed and not self.guarded.tally.failures

    @property
    def counts(self) -> Counter[str]:
        """Outcomes of the guarded run."""
        return Counter(self.guarded.outcomes.values())


def compare(runner: Runner) -> Comparison:
    """Run the suite both ways, and what differs again."""
    plain, guarded = runner.run(guarded=False), runner.run(guarded=True)
    result = Comparison(plain, guarded)
    differing = {
        test: f"{plain.outcomes.get(test, 'not run')} -> {guarded.outcomes.get(test, 'not run')}"
        for test in sorted({*plain.outcomes, *guarded.outcomes})
        if plain.outcomes.get(test) != guarded.outcomes.get(test)
    }
    known = runner.suite.expected
    result.expected = {test: what for test, what in differing.items() if test in known}
    rest = {test: what for test, what in differing.items() if test not in known}
    if len(rest) > AT_MOST:
        result.changed = rest
        return result
    for test, what in rest.items():
        before, after = _again(runner, test, guarded=False), _again(runner, test, guarded=True)
        seen = f"{what}; alone {_words(before)} -> {_words(after)}"
        if len(before) == len(after) == 1 and before.keys() != after.keys():
            result.changed[test] = seen
        else:
            result.unsteady[test] = seen
    return result


def _again(runner: Runner, test: str, guarded: bool) -> Counter[str]:
    runs = (runner.run(guarded, [test], seconds=120) for _ in range(AGAIN))
    return Counter(run.outcomes.get(test, "not run") for run in runs)


def _words(outcomes: Counter[str]) -> str:
    return ", ".join(f"{times} {outcome}" for outcome, times in outcomes.most_common())
