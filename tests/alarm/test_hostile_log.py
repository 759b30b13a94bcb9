"""Hostile texts in the log and in the terminal: bounded, one line each, nothing that moves a cursor."""

from __future__ import annotations

import json
import logging

import pytest

from stateguard import Guard
from tests.alarm.leaks import HOSTILE, hostile


def test_a_message_is_bounded_and_printable(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(watch=["tests.alarm.state"], process=False)
    assert guard.engine is not None
    reporter = guard.engine.reporter
    with caplog.at_level(logging.DEBUG, "stateguard"):
        for _ in range(10):
            reporter.record(hostile(), None)
        reporter.act(reporter.take())
        guard.close()
    first, tenth = [record for record in caplog.records if "shared state" in record.getMessage()]
    for record in (first, tenth):
        text = record.getMessage()
        assert len(text) < 40_000
        assert all(line.isprintable() for line in text.split("\n"))
        assert "\x1b" not in text
    assert len(tenth.getMessage().splitlines()) == 1
    fields = json.dumps(first.leak)
    assert len(fields) < 300_000
    assert first.leak["path"] == HOSTILE


def test_a_summary_is_printable() -> None:
    guard = Guard(watch=["tests.alarm.state"], process=False, on_leak=str)
    assert guard.engine is not None
    guard.engine.reporter.record(hostile(), None)
    text = guard.summary()
    guard.close()
    assert all(line.isprintable() for line in text.split("\n"))
