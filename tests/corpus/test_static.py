"""The audit finds the leaks of the corpus by their rule and line, and rates no harmless write high."""

from __future__ import annotations

import pytest

from tests.corpus import static
from tests.corpus.case import Case
from tests.corpus.catalogue import CASES

KNOWN = [case for case in CASES if any((case.name, truth.marker) in static.RULES for truth in case.truths)]
QUIET = [case for case in CASES if case.kind == "harmless"]


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_leak_is_found_in_the_source(case: Case) -> None:
    for verdict in static.judge(case):
        assert verdict.right, [(one.rule, one.file, one.line) for one in static.findings(case.module_name)]
        assert any(one.reachable_from for one in verdict.at_line), "no entry point leads there"


@pytest.mark.parametrize("case", QUIET, ids=lambda case: case.name)
def test_harmless_write_is_not_rated_high_in_the_source(case: Case) -> None:
    for verdict in static.judge(case):
        assert verdict.worst in ("", "low"), [(one.rule, one.line, one.message) for one in verdict.beside]


def test_every_row_belongs_to_a_case() -> None:
    rows = {(case.name, truth.marker) for case in CASES for truth in case.truths}
    assert set(static.RULES) <= rows
