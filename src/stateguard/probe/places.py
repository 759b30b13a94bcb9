"""Where code is: which of it is the application's, and where a suspended coroutine stands."""

from __future__ import annotations

import gc
import os
import sysconfig
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any

from stateguard.attribution.driven import DrivenCoroutine
from stateguard.attribution.steps import drive
from stateguard.passing import Passing
from stateguard.short import Drive

_SELF = os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir)) + os.sep
_DRIVERS = {(code.co_filename, code.co_name) for code in (drive.__code__, Passing.serve.__code__)}
_DEEPEST = 200


class Places:
    """Names places in the application: code below ``roots`` that is neither installed nor stateguard's."""

    def __init__(self, *roots: str) -> None:
        self._roots = tuple(dict.fromkeys(os.path.realpath(root) + os.sep for root in roots if root))
        paths = sysconfig.get_paths()
        libraries = {
            os.path.realpath(paths[key]) + os.sep for key in ("stdlib", "platstdlib") if key in paths
        }
        self._foreign = (*libraries, _SELF)
        self._known: dict[str, str] = {}
        self._foreign_files: dict[str, bool] = {}

    def ours(self, code: CodeType) -> bool:
        """Whether it is the application's code."""
        return bool(self._short(code.co_filename))

    def name(self, code: CodeType, line: int) -> str:
        """``chat.py:14``, relative to the root it is below; ``(responses.py:250)`` in others' code."""
        short = self._short(code.co_filename)
        return f"{short}:{line}" if short else f"({os.path.basename(code.co_filename)}:{line})"

    def _short(self, file: str) -> str:
        known = self._known.get(file)
        if known is None:
            known = self._known[file] = self._find(file)
        return known

    def _find(self, file: str) -> str:
        if file.startswith("<"):  # <string>, <frozen importlib._bootstrap>: no file at all
            return ""
        path = os.path.realpath(file)
        for root in self._roots:
            if path.startswith(root) and not path.startswith(self._foreign):
                rest = path[len(root) :]
                parts = rest.split(os.sep)
                if "site-packages" not in parts and "dist-packages" not in parts:
                    return "/".join(parts)
        return ""

    def _is_foreign(self, file: str) -> bool:
        known = self._foreign_files.get(file)
        if known is None:
            path = os.path.realpath(file)
            installed = "site-packages" in path.split(os.sep)
            known = self._foreign_files[file] = path.startswith(self._foreign) and not installed
        return known

    def standing(self, coroutine: Any) -> tuple[str, Any, Any]:
        """Where a suspended coroutine stands: the innermost place in the application, or else in an installed
        library, what stands there (coroutine, generator), and what that is awaiting. Lines of the standard
        library are no places: they differ between Python versions.

        The last two tell whether the application has gone on since: while only a library goes on under one
        ``await``, they stay the same objects.
        """
        found: tuple[str, Any, Any] | None = None
        library: tuple[str, Any, Any] | None = None
        each = coroutine
        for _ in range(_DEEPEST):
            frame, awaiting = _look(each)
            if frame is None:
                break
            code = frame.f_code
            if (code.co_filename, code.co_name) in _DRIVERS:
                awaiting = frame.f_locals.get("coroutine")  # stepped by hand, not awaited
            elif self.ours(code):
                found = (self.name(code, frame.f_lineno), each, awaiting)
            elif not self._is_foreign(code.co_filename):
                library = (self.name(code, frame.f_lineno), each, awaiting)
            each = awaiting
        return found or library or ("", None, None)


def _look(each: Any) -> tuple[FrameType | None, Any]:
    kind = type(each)
    if kind is CoroutineType:
        return each.cr_frame, each.cr_await
    if kind is GeneratorType:
        return each.gi_frame, each.gi_yieldfrom
    if kind is AsyncGeneratorType:
        return each.ag_frame, each.ag_await
    if kind is DrivenCoroutine or kind is Drive:
        return each.cr_frame, each.cr_await
    if each is not None and kind.__name__ in ("async_generator_asend", "async_generator_athrow"):
        # `async for` over a generator: the one who knows which is the garbage collector.
        for referent in gc.get_referents(each):
            if type(referent) is AsyncGeneratorType:
                return referent.ag_frame, referent.ag_await
    return None, None
