"""The main job, as a user runs it: ``python -m examples``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.outcome import FAULTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("service", ["starlette", "flask"])
def test_the_main_job_finds_every_fault_and_nothing_in_the_repaired_twin(service: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}
    done = subprocess.run(
        [sys.executable, "-m", "examples", service],
        cwd=ROOT,
        env={**environment, "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        timeout=100,
        check=False,
    )
    shown = done.stdout.decode()
    assert done.returncode == 0, shown + done.stderr.decode()
    assert done.stderr == b""
    assert "As expected" in shown
    assert "60/60" in shown
    assert "shared state" in shown
    for fault in FAULTS.values():
        assert fault in shown, fault
    assert "Traceback" not in shown
