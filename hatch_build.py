"""Compile the optional parts of the package where that is possible; without them it does the same, slower.

A wheel has them if there is a compiler for the interpreter that builds it, and is a pure one otherwise; an
editable installation gets them beside their sources. ``STATEGUARD_PURE=1`` leaves them out,
``STATEGUARD_COMPILE=1`` makes it an error if they cannot be compiled (releases).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ["stateguard._short", "stateguard.watch._identity"]
"""Modules that are compiled, all of them or none: each from the ``.c`` files where its ``.py`` would be whose
names begin as its does."""


_DENSE = ["-O2", "-fno-plt", "-falign-functions=1", "-falign-jumps=1", "-falign-loops=1", "-falign-labels=1"]
FLAGS = {"stateguard._short": _DENSE} if sys.platform == "linux" else {}
"""What every request runs is to fill few lines of a processor's caches: no loops unrolled, no gaps."""


class NotCompiled(RuntimeError):
    """Why there are no compiled parts, with what the compiler said."""


def possible() -> bool:
    """Whether this interpreter is one that the parts are written for: CPython with its lock."""
    return sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def places() -> list[Path]:
    """Where the compiled parts for this interpreter belong, below ``src``. Another one has other names."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return [Path(*part.split(".")).with_suffix(suffix) for part in PARTS]


def compile_parts(root: Path, work: Path) -> dict[Path, Path]:
    """Compile every part below ``work``: each place of :func:`places`, and the file that belongs there.

    A process of its own does it: its output is shown only if it fails, and this one keeps its directory.
    Raises :class:`NotCompiled`.
    """
    done = subprocess.run(
        [sys.executable, "-P", __file__, str(work)],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    found = {place: work / "lib" / place for place in places()}
    if done.returncode or not all(path.is_file() for path in found.values()):
        raise NotCompiled("\n".join(done.stdout.strip().splitlines()[-20:]) or f"exit code {done.returncode}")
    return found


def sources(part: str) -> list[str]:
    """What a part is compiled from, below the current directory."""
    *packages, name = part.split(".")
    return sorted(map(str, Path("src", *packages).glob(f"{name}*.c")))


def _compile(work: Path) -> None:
    """What the process does. Compilers write beside the path that they are given: a relative one."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extensions = [Extension(part, sources(part), extra_compile_args=FLAGS.get(part)) for part in PARTS]
    command = build_ext(Distribution({"name": "stateguard", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(work / "lib"), str(work / "temp")
    command.ensure_finalized()
    command.run()


class CompiledParts(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel is put together."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add what could be compiled to the wheel, or to the sources of an editable installation."""
        if self.target_name != "wheel":
            return
        root, editable = Path(self.root), version == "editable"
        self.work = tempfile.TemporaryDirectory(prefix="stateguard-", ignore_cleanup_errors=True)
        found: dict[Path, Path] = {}
        if possible() and not os.environ.get("STATEGUARD_PURE"):
            try:
                found = compile_parts(root, Path(self.work.name))
            except NotCompiled as error:
                if os.environ.get("STATEGUARD_COMPILE"):
                    raise
                self.app.display_warning(f"stateguard is built without its compiled parts:\n{error}")
        if editable:
            for place in places():
                put(found.get(place), root / "src" / place)
        elif found:
            build_data["pure_python"], build_data["infer_tag"] = False, True
            build_data["force_include"].update({str(path): place.as_posix() for place, path in found.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clear up."""
        if self.target_name == "wheel":
            self.work.cleanup()


def put(path: Path | None, target: Path) -> None:
    """Make ``target`` a copy of ``path``, in one step; without one, remove what an earlier installation left.

    A process that has loaded the old file keeps it, and whoever does the same at the same time does no harm.
    """
    if path is None:
        target.unlink(missing_ok=True)
        return
    new = target.with_name(f"{target.name}.{uuid.uuid4().hex}.new")
    try:
        shutil.copy2(path, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        _compile(Path(sys.argv[1]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
