"""gevent: switches are observable, so every write is exact. In a process of its own: it patches the world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_greenlets_are_attributed_exactly() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gevent.monkey", "--module", "tests.attribution.gevent_program"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
