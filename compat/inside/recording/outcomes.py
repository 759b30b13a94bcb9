"""Runs inside of a suite's own process: one line for each phase of each test, as pytest reports it."""

from __future__ import annotations

import json
import os

OUTCOMES = os.environ["COMPAT_OUTCOMES"]  # now: tests empty the environment


def pytest_runtest_logreport(report):
    line = json.dumps([report.nodeid, report.when, report.outcome, hasattr(report, "wasxfail")])
    with open(OUTCOMES, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def pytest_collectreport(report):
    if report.failed:
        with open(OUTCOMES, "a", encoding="utf-8") as file:
            file.write(json.dumps([report.nodeid or "(collection)", "collect", "failed", False]) + "\n")
