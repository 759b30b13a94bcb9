"""A suite's released source, unpacked, and an environment that can run it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compat.suites import Suite


class NotReady(RuntimeError):
    """A suite could not be fetched or installed; the message holds pip's."""


def source_of(suite: Suite, work: Path) -> Path:
    """The unpacked source distribution, downloaded once. Raises :class:`NotReady`."""
    kept = work / "sources"
    kept.mkdir(parents=True, exist_ok=True)
    found = _unpacked(kept, suite.name)
    if found is None:
        command = ["pip", "download", "--no-deps", "--no-binary", suite.name, "--dest", str(kept), suite.name]
        _run([sys.executable, "-m", *command], suite.environment)
        archive = next(iter(sorted(kept.glob(f"{suite.name}-*.tar.gz"))), None)
        if archive is None:
            raise NotReady(f"{suite.name} has no source distribution")
        with tarfile.open(archive) as tar:
            tar.extractall(kept, filter="data")
        found = _unpacked(kept, suite.name)
    if found is None or not (found / "tests").is_dir():
        raise NotReady(f"the source distribution of {suite.name} has no tests")
    return found


def _unpacked(kept: Path, name: str) -> Path | None:
    return next((path for path in sorted(kept.glob(f"{name}-*")) if path.is_dir()), None)


def python_of(suite: Suite, source: Path, work: Path) -> Path:
    """The interpreter of an environment with the suite's packages. Raises :class:`NotReady`."""
    home = work / "environments" / f"{source.name}-py{sys.version_info[0]}{sys.version_info[1]}"
    python = home / "bin" / "python"
    ready = home / "ready"
    if not ready.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(home)], {})
        packages = [package.format(source=source) for package in suite.install]
        _run([str(python), "-m", "pip", "install", "-q", *packages], suite.environment)
        ready.touch()
    return python


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        raise NotReady(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
