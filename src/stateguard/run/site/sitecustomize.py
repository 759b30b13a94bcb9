"""Imported by every Python process below ``stateguard run``: waits for a server module, costs nothing else.

Only the standard library is used, and stateguard itself is imported only in processes that import a server:
this file also runs in every helper process, and in interpreters where stateguard may not be installed.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

TYPE_CHECKING = False  # as in typing, which would cost every helper process its import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

HERE = os.path.realpath(os.path.dirname(__file__))


class _Loader(importlib.abc.Loader):
    """Runs the module's own loader, then patches what it has loaded."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its own loader: importlib.resources and pkgutil ask it for files.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        try:
            from stateguard.run.servers import patch

            patch(module)
        except Exception as error:  # the application comes first
            sys.stderr.write(
                f"stateguard: {module.__name__} runs unguarded: {type(error).__name__}: {error}\n"
                f"stateguard: is it installed for {sys.executable}? pip install stateguard-middleware\n"
            )


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of :data:`SERVERS` as everybody else would, and has them patched."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._busy: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names or name in self._busy:
            return None
        self._busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._busy.discard(name)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)
        return spec


def _run_the_next_sitecustomize() -> None:
    """This file stands before the one that the environment may have of its own."""
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize")
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if os.environ.get("STATEGUARD_MODE") != "off":
    sys.meta_path.insert(0, _Finder(frozenset(os.environ.get("STATEGUARD_RUN", "").split(","))))
_run_the_next_sitecustomize()
