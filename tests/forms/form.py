"""One form of mutation: how the state is made, how it is changed, what a person would say of it."""

from __future__ import annotations

import linecache
import sys
import textwrap
import types
from dataclasses import dataclass

from stateguard import Guard
from stateguard.leak import Leak

NAME = "app"
"""The module that the set-up of every form makes."""


@dataclass(frozen=True, slots=True)
class Expect:
    """One change: any of ``kinds``, at a path that ``path`` (a glob, only ``*`` is special) means."""

    kinds: tuple[str, ...]
    path: str
    said: str = ""
    """A text that the previews, written ``before -> after``, must hold."""


@dataclass(frozen=True, slots=True)
class Form:
    """A row of the table. ``change`` is the body of a function in the module that ``setup`` makes."""

    group: str
    name: str
    setup: str
    change: str
    expects: tuple[Expect, ...]
    undo: str = ""
    """Run afterwards: puts back what belongs to the process."""

    @property
    def id(self) -> str:
        return f"{self.group}: {self.name}"


def make_module(setup: str, change: str, undo: str = "") -> types.ModuleType:
    """A fresh module of that name, with functions ``_change`` and ``_undo``."""
    source = "\n".join(
        (
            textwrap.dedent(setup).strip(),
            "def _change():",
            textwrap.indent(textwrap.dedent(change).strip(), "    "),
            "def _undo():",
            textwrap.indent(textwrap.dedent(undo).strip() or "pass", "    "),
            "",
        )
    )
    module = types.ModuleType(NAME)
    file = f"<form {hash(source):x}>"
    module.__file__ = file
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[NAME] = module
    try:
        exec(compile(source, file, "exec"), vars(module))
    except BaseException:
        del sys.modules[NAME]
        raise
    return module


def observe(setup: str, change: str, undo: str = "", **options: object) -> list[Leak]:
    """What a guard reports of the change, made inside one request."""
    module = make_module(setup, change, undo)
    try:
        guard = Guard(watch=[NAME], locate="never", **options)
        try:
            with guard.request("r"):
                module._change()
            return list(guard.leaks)
        finally:
            guard.close()
    finally:
        module._undo()
        sys.modules.pop(NAME, None)
