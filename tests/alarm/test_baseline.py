"""A baseline makes known leaks silent and leaves new ones loud."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from stateguard import Guard
from stateguard.allow import AllowList
from stateguard.report.jsonl import JsonLines
from tests.alarm import state
from tests.alarm.leaks import hostile, leak
from tests.run.command import BIN


def _baseline(leaks: Path) -> list[str]:
    done = subprocess.run(
        [str(BIN / "stateguard"), "baseline", str(leaks)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    allow: list[str] = tomllib.loads(done.stdout)["tool"]["stateguard"]["allow"]
    return allow


def test_known_leaks_are_silent_and_new_ones_are_not(tmp_path: Path) -> None:
    first = Guard(watch=["tests.alarm.state"], process=False, on_leak=print, report_to=tmp_path)
    with first.request("job"):
        state.HISTORY.append("word")
    first.close()
    (entry,) = _baseline(tmp_path)
    assert entry.startswith("tests.alarm.state.HISTORY  # baseline: high, seen 1 times since ")
    second = Guard(watch=["tests.alarm.state"], process=False, on_leak=print, allow=[entry])
    with second.request("job"):
        state.HISTORY.append("word")
        state.NAMES["new"] = "word"
    second.close()
    state.HISTORY.clear()
    state.NAMES.clear()
    assert [one.root for one in second.leaks] == ["tests.alarm.state.NAMES"]
    assert second.unused_allowances() == []


@pytest.mark.parametrize("path", ['app.A["b"]', "app.A['#1'].x*", "app.\u00e9\U0001f600"])
def test_every_path_can_be_exempted(tmp_path: Path, path: str) -> None:
    JsonLines(tmp_path).leak(leak(path), 1)
    (entry,) = _baseline(tmp_path)
    assert AllowList([entry]).allows(path, path)


def test_hostile_text_stays_in_its_line(tmp_path: Path) -> None:
    JsonLines(tmp_path).leak(hostile(), 1)
    assert len(_baseline(tmp_path)) == 1
