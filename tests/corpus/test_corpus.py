"""Every upstream leak is found and rightly told, no innocent is accused, no harmless write is rated high."""

from __future__ import annotations

import pytest

from stateguard.report.text import render_leak
from tests.corpus import judge, shapes
from tests.corpus.case import Case
from tests.corpus.catalogue import CASES, EIGHT, HARMLESS, MIRRORS, UPSTREAM
from tests.corpus.variants import SHAPES, VARIANTS

LEAKS = [case for case in CASES if case.kind == "leak"]
QUIET = [case for case in (*CASES, *shapes.QUIET) if case.kind == "harmless"]
CARRIED = [*VARIANTS, *shapes.SHAPES]


def told(verdict: judge.Verdict) -> str:
    """What was reported, for a failing test."""
    lines = []
    for leak in verdict.leaks:
        who = leak.request.id if leak.request else [suspect.id for suspect in leak.suspects]
        what = f"{leak.severity} {leak.path} {leak.kind}"
        lines.append(f"{what}: {leak.confidence} {who} at {leak.location} ({leak.reason})")
    return "\n".join(lines)


def served(verdict: judge.Verdict) -> None:
    """A positive control: the script ran as written, so that there was something to see."""
    assert set(verdict.outcomes.values()) == {"200"}, verdict.outcomes


@pytest.mark.parametrize("case", LEAKS, ids=lambda case: case.name)
def test_leak_is_found_and_rightly_told(case: Case) -> None:
    verdict = judge.run(case)
    served(verdict)
    assert verdict.right_path, told(verdict)
    assert verdict.right_request, told(verdict)
    assert not verdict.innocents_accused, told(verdict)
    for finding in verdict.findings:
        assert finding.exact, told(verdict)
        assert finding.right_line or finding.truth.no_line, told(verdict)


@pytest.mark.parametrize("case", CARRIED, ids=lambda case: case.name)
def test_leak_is_found_however_it_is_carried(case: Case) -> None:
    verdict = judge.run(case)
    served(verdict)
    assert verdict.right_path, told(verdict)
    assert verdict.right_request, told(verdict)
    assert not verdict.innocents_accused, told(verdict)
    for finding in verdict.findings:
        assert finding.right_line, told(verdict)


@pytest.mark.parametrize("case", shapes.SHAPES, ids=lambda case: case.name)
def test_what_the_message_says_to_write_exempts_the_leak(case: Case) -> None:
    suggested = {
        line.partition('["')[2].rpartition('"]')[0]
        for leak in judge.run(case).leaks
        for line in render_leak(leak).splitlines()
        if line.startswith("  allow")
    }
    assert suggested
    assert not judge.run(case, allow=sorted(suggested)).leaks, suggested


@pytest.mark.parametrize("case", LEAKS, ids=lambda case: case.name)
def test_leak_is_found_without_a_tracer(case: Case) -> None:
    verdict = judge.run(case, locate="never")
    served(verdict)
    assert verdict.right_path, told(verdict)
    assert verdict.right_request, told(verdict)
    assert not verdict.innocents_accused, told(verdict)
    assert not any(leak.location for leak in verdict.leaks), told(verdict)


@pytest.mark.parametrize("case", LEAKS, ids=lambda case: case.name)
def test_innocent_requests_never_fail(case: Case) -> None:
    verdict = judge.run(case, on_leak="raise", locate="auto")
    failed = {name for name, outcome in verdict.outcomes.items() if outcome != "200"}
    assert failed <= case.guilty, (failed, told(verdict))


@pytest.mark.parametrize("case", QUIET, ids=lambda case: case.name)
@pytest.mark.parametrize("locate", ["always", "auto"])
def test_harmless_write_is_not_rated_high(case: Case, locate: str) -> None:
    verdict = judge.run(case, locate=locate)
    served(verdict)
    assert not verdict.high, told(verdict)


def test_the_corpus_is_complete() -> None:
    assert len(UPSTREAM) == 20
    assert len(MIRRORS) == 20
    assert len({case.source for case in EIGHT}) == 8
    assert len({case.source for case in HARMLESS}) >= 10
    assert len(VARIANTS) == 5 * len(UPSTREAM)
    assert {(case.carrier, case.protocol) for case in VARIANTS} >= {
        (shape, "asgi") for shape in SHAPES if shape != "websocket"
    }
    every = [*CASES, *CARRIED, *shapes.QUIET]
    assert len({case.name for case in every}) == len(every)


def test_mirrors_swap_the_protocol() -> None:
    originals = {case.name: case for case in UPSTREAM}
    for mirror in MIRRORS:
        original = originals[mirror.name.removesuffix("_asgi").removesuffix("_wsgi")]
        assert mirror.source == original.source
        assert mirror.protocol != original.protocol
        assert mirror.shape


def test_naive_snapshots_accuse_innocents_in_the_same_run() -> None:
    """The overlap is real: the tool that everybody writes first blames who was merely there."""
    case = next(case for case in UPSTREAM if case.name == "langchain_memory")
    verdict = judge.run(case)
    assert verdict.naive_found
    assert verdict.naive_accused == ("innocent-1",)
