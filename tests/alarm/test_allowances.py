"""Exemptions: in pyproject, by preset, and those that match nothing are reported."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stateguard import Guard
from stateguard.allow import AllowList
from stateguard.errors import ConfigError
from stateguard.presets import PRESETS
from stateguard.report.jsonl import JsonLines
from stateguard.report.merge import read_leaks
from tests.alarm import state
from tests.alarm.leaks import leak
from tests.run.command import BIN

ENTRY = "tests.alarm.state:HISTORY  # a history that is meant"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    state.HISTORY.clear()
    state.NAMES.clear()


def _guard(**options: object) -> Guard:
    return Guard(watch=["tests.alarm.state"], process=False, **options)


def test_exemptions_in_pyproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.stateguard]\nallow = [{json.dumps(ENTRY)}]\n")
    monkeypatch.chdir(tmp_path)
    guard = _guard()
    with guard.request("job"):
        state.HISTORY.append("word")
    guard.close()
    assert guard.leaks == []


def test_every_preset_can_be_named_and_gives_reasons() -> None:
    entries = AllowList([f"@{name}" for name in PRESETS])
    assert entries.allows("app.StaticFiles().config_checked", "app.StaticFiles()")
    assert not entries.allows("app.HISTORY", "app.HISTORY")
    assert entries.unused() == [], "of a preset nobody needs every entry"
    assert all("#" in entry for preset in PRESETS.values() for entry in preset)


def test_the_cache_of_compiled_templates_is_meant_and_other_caches_are_not() -> None:
    entries = AllowList(["@jinja2"])
    for path in ("flask.app.Flask().jinja_env.cache._queue[4]", "app.templates.env.cache._mapping['a']"):
        assert entries.allows(path, path.partition("[")[0])
    assert not entries.allows("app.cache._queue[4]", "app.cache._queue")


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="@starlette"):
        _guard(allow=["@starlett"])


def test_exemptions_that_match_nothing_are_said_and_merged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = "tests.alarm.state:GONE  # long gone"
    for worker in range(2):
        guard = _guard(allow=[ENTRY, other], report_to=tmp_path)
        with caplog.at_level(logging.INFO, "stateguard"):
            with guard.request("job"):
                state.NAMES[f"n{worker}"] = "word"
                if worker:
                    state.HISTORY.append("word")
            guard.close()
    said = [record.getMessage() for record in caplog.records if "exemptions" in record.getMessage()]
    assert len(said) == 2
    assert "2 of 2 exemptions have matched nothing" in said[0]
    assert "1 of 2 exemptions have matched nothing" in said[1]
    merged = read_leaks([tmp_path])
    assert merged.unused_allowances() == [other]
    assert merged.unreadable == 0
    done = subprocess.run([str(BIN / "stateguard"), "report", str(tmp_path)], capture_output=True, timeout=60)
    text = " ".join(done.stdout.decode().split())
    assert f"exemption that matches nothing: {' '.join(other.split())}" in text
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", str(tmp_path), "--json"], capture_output=True, timeout=60
    )
    assert json.loads(done.stdout)["unused_allowances"] == [other]


@pytest.mark.parametrize(
    "line", ['{"allowances": 7}', '{"allowances": {"a": "b", "c": -1}}', '{"allowances": []}']
)
def test_odd_lines_about_exemptions_do_no_harm(tmp_path: Path, line: str) -> None:
    JsonLines(tmp_path).leak(leak(), 1)
    (tmp_path / "odd.jsonl").write_text(line + "\n")
    merged = read_leaks([tmp_path])
    assert len(merged.leaks) == 1
    assert merged.unused_allowances() == []


def test_hostile_exemptions_stay_in_their_line(tmp_path: Path) -> None:
    entry = "app.A\x1b[2J\n</script>\ud800\u202e[bold red]" + "x" * 100_000
    JsonLines(tmp_path).allowances({entry: 0})
    done = subprocess.run([str(BIN / "stateguard"), "report", str(tmp_path)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not [c for c in done.stdout.decode() if not c.isprintable() and c != "\n"]


def test_no_more_messages_a_minute_than_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    guard = _guard(rate_limit=5)
    assert guard.engine is not None
    reporter = guard.engine.reporter
    with caplog.at_level(logging.DEBUG, "stateguard"):
        for n in range(40):
            reporter.record(leak(f"app.N{n}", severity="note"), None)
        for n in range(20):
            reporter.record(leak(f"app.A{n}"), None)
        reporter.act(reporter.take())
        assert [record.levelname for record in caplog.records] == ["DEBUG"] * 5 + ["WARNING"] * 5
        guard.close()
    assert "50 more leak messages were not said" in caplog.text
    assert len(guard.leaks) == 60
    assert len(guard.counts) == 60


@pytest.mark.parametrize("limit", [-1, "many", None.__class__])
def test_a_limit_that_cannot_be_one(limit: object) -> None:
    with pytest.raises(ConfigError, match="rate_limit"):
        _guard(rate_limit=limit)
