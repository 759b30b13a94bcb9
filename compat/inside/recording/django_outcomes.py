"""Settings for Django's own test runner: those that its suite brings, with every outcome written down."""

from __future__ import annotations

import json
import os
import unittest

from django.test.runner import DiscoverRunner
from test_sqlite import *

OUTCOMES = os.environ["COMPAT_OUTCOMES"]  # now: tests empty the environment


class Recording(unittest.TextTestResult):
    """One line per test and outcome, as the pytest plugin beside this file writes them."""

    def _note(self, test, outcome, expected=False):
        with open(OUTCOMES, "a", encoding="utf-8") as file:
            file.write(json.dumps([test.id(), "call", outcome, expected]) + "\n")

    def addSuccess(self, test):
        super().addSuccess(test)
        self._note(test, "passed")

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "failed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._note(test, "skipped", True)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "passed", True)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed")


class Runner(DiscoverRunner):
    """Django's runner, recording."""

    def get_resultclass(self):
        return Recording


TEST_RUNNER = "django_outcomes.Runner"
