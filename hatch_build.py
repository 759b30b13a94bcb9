"""Compile the optional parts of the package where that is possible; without them it does the same, slower.

A wheel has them if there is a compiler for the interpreter that builds it, and is a pure one otherwise; an editable
installation gets them beside their sources. ``STATEGUARD_PURE=1`` leaves them out, ``STATEGUARD_COMPILE=1`` makes
it an error if they cannot be compiled (releases).
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("stateguard._short", "stateguard.watch._identity")


def compile_parts(root: Path, work: Path) -> dict[str, Path]:
    """Compile every part below ``work``: each file by where it belongs below ``src``. Raises what goes wrong."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    sources = {part: root.joinpath("src", *part.split(".")).with_suffix(".c") for part in PARTS}
    extensions = [Extension(part, [os.path.relpath(source, root)]) for part, source in sources.items()]
    command = build_ext(Distribution({"name": "stateguard", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(work / "lib"), str(work / "temp")
    before = Path.cwd()
    os.chdir(root)  # compilers write their files beside the path that they are given
    try:
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return {os.path.relpath(path, work / "lib"): Path(path) for path in command.get_outputs()}


class CompiledParts(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel is put together."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add what could be compiled to the wheel, or to the sources of an editable installation."""
        if self.target_name != "wheel" or os.environ.get("STATEGUARD_PURE"):
            return
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            return
        root = Path(self.root)
        self.work = Path(tempfile.mkdtemp(prefix="stateguard-"))
        try:
            found = compile_parts(root, self.work)
        except (Exception, SystemExit) as error:
            if os.environ.get("STATEGUARD_COMPILE"):
                raise
            self.app.display_warning(f"stateguard is installed without its compiled parts: {error}")
            return
        if version == "editable":
            for place, path in found.items():
                target = root / "src" / place
                shutil.copy2(path, f"{target}.new")
                Path(f"{target}.new").replace(target)  # a process that has loaded the old one keeps it
            return
        build_data["pure_python"], build_data["infer_tag"] = False, True
        build_data["force_include"].update({str(path): place for place, path in found.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clear up."""
        if hasattr(self, "work"):
            shutil.rmtree(self.work, ignore_errors=True)
