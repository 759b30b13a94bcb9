"""The comparison of test suites, on a suite of three tests: what is the same, what changes, what is known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from compat import compare as comparing
from compat.compare import compare
from compat.page import BEGIN, END, keep, write
from compat.run import Runner
from compat.suites import SUITES, Suite

TESTS = """
import sys

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

SEEN = []


async def page(request):
    SEEN.append(1)
    return PlainTextResponse("hello")


def test_same():
    assert TestClient(Starlette(routes=[Route("/", page)])).get("/").text == "hello"


def test_fails_both_ways():
    assert TestClient(Starlette()).get("/").status_code == 200


def test_notices_the_guard():
    assert "stateguard" not in sys.modules
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    (tmp_path / "source" / "tests").mkdir(parents=True)
    (tmp_path / "source" / "tests" / "test_it.py").write_text(TESTS, "utf-8")
    return Suite("tiny", (), ("tests", "-p", "no:stateguard", "-p", "no:randomly"), seconds=60)


def test_what_changes_is_found(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "AGAIN", 1)
    result = compare(Runner(suite, tmp_path / "source", Path(sys.executable), tmp_path))
    assert result.proves_something
    assert not result.good
    assert result.changed == {
        "tests/test_it.py::test_notices_the_guard": "passed -> failed; alone 1 passed -> 1 failed"
    }
    assert dict(result.counts) == {"passed": 1, "failed": 2}
    tally = result.guarded.tally
    assert (tally.apps, tally.failures) == (2, {})
    assert tally.calls >= 2
    assert tally.leaks == 1

    known = replace(suite, expected={"tests/test_it.py::test_notices_the_guard": "it looks for the guard"})
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{BEGIN}\n{END}\n\nThe end.\n", "utf-8")
    keep(tmp_path / "results", "tiny 1.0", known, replace(result, changed={}, expected=result.changed))
    write(page, tmp_path / "results")
    text = page.read_text("utf-8")
    assert "| tiny 1.0 | 3 | 1 | 2 | 0 | 1 | 0 | 2 |" in text
    assert "(it looks for the guard)" in text
    assert text.endswith(f"{END}\n\nThe end.\n")


def test_a_run_that_takes_too_long_proves_nothing(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "source" / "tests" / "test_it.py").write_text(
        "def test_long():\n    import time\n    time.sleep(60)\n"
    )
    run = Runner(replace(suite, seconds=2), tmp_path / "source", Path(sys.executable), tmp_path).run(
        guarded=False
    )
    assert not run.finished


def test_every_exception_has_a_reason() -> None:
    for suite in SUITES.values():
        assert all(suite.expected.values())
