"""Closes the guard where one test, or one file of them, ends: it holds the applications that it has met."""

from __future__ import annotations

import os

from guard_everything import _guard, tally

PER_TEST = os.environ.get("COMPAT_GUARD_PER_TEST", "").split(":")


class _Latest:
    group = None


def pytest_runtest_logstart(nodeid, location):
    group = nodeid if location[0] in PER_TEST else location[0]
    if group != _Latest.group:
        _Latest.group = group
        tally.take()
        _guard()  # now: a test may replace what a guard is made with, such as `open`
