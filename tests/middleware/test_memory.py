"""100,000 guarded requests leave the process no bigger than the first ones did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

REQUESTS = 100_000

GROWTH = 4 << 20
"""Bytes that the allocator may take between the first thousand requests and the last."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
def test_no_growth(protocol):
    done = subprocess.run(
        [sys.executable, "-m", "tests.middleware.endurance", protocol, str(REQUESTS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["watching"]
    assert found["failures"] == {}
    assert found["leaks"] > 1000
    sizes = found["sizes"]
    assert sizes[str(REQUESTS)] - sizes["20000"] < GROWTH, found
