"""Sub-interpreters, each with modules, requests and guards of its own."""

from __future__ import annotations

import subprocess
import sys


def test_an_application_is_guarded_in_an_interpreter_of_its_own():
    command = [sys.executable, "-m", "tests.middleware.in_interpreters"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "guarded twice"), done.stderr
