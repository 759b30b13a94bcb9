"""Finalizers that a garbage collection runs in the middle of a stretch: nobody's doing.

A collection starts wherever enough has been allocated, and runs the finalizers of objects, generators and
weak references that any request may have left behind. What is dropped by hand is finalized at once, and is on
the account of whoever dropped it.
"""

from __future__ import annotations

import dis
import gc
import types
from typing import Any

from stateguard.watch.kinds import is_a, module_of, namespace

_GENERATOR = 0x20 | 0x200
"""Flags of the code of generators: one that is collected runs its ``finally`` and ``with`` blocks."""


class Collections:
    """Notes collections that have found garbage, for one guard."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        # No Python code runs when a collection ends: what a signal handler raises in there, nobody ever sees.
        self._note = self._seen.setdefault
        self._total = 0
        self._last_full = True
        self._lately = self._lately_full = False

    def note(self, possible: bool) -> None:
        """Begin, if there can be finalizers that write; end if not."""
        if possible and self._note not in gc.callbacks:
            self._total = _total()
            gc.callbacks.append(self._note)
        elif not possible and self._note in gc.callbacks:
            gc.callbacks.remove(self._note)

    def about_to_look(self, full: bool) -> None:
        """To be called before each comparison of state, ``full`` or of its hot part."""
        lately = False
        if self._under_way():
            lately = True
        elif self._seen:
            self._seen.clear()
            total = _total()
            lately, self._total = total != self._total, total
        self._lately = lately
        self._lately_full = lately or (self._lately_full and not self._last_full)
        self._last_full = full

    def may_have_finalized(self, full: bool) -> bool:
        """Whether finalizers may have run since the comparison before, the ``full`` one if so asked."""
        if self._lately or (full and self._lately_full):
            return True
        return self._under_way() or (bool(self._seen) and _total() != self._total)

    def _under_way(self) -> bool:
        return "start" in self._seen and "stop" not in self._seen


def _total() -> int:
    return sum(generation["collected"] + generation["uncollectable"] for generation in gc.get_stats())


def possible(modules: dict[str, dict[str, Any]]) -> bool:
    """Whether code of these modules (globals by module name) can run when something is collected."""
    return any(_finalizes(name, list(members.values())) for name, members in modules.items())


_WEAK = ("weakref", "_weakrefset", "_weakref")


def _finalizes(module: str, todo: list[Any]) -> bool:
    """Whether any of these objects, or what the classes of that module among them hold, is a finalizer.

    Classes are read past their metaclass, names are compared where they are plain strings: whatever else an
    application has put there would be asked by running its code.
    """
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        cls = type(value)
        if cls is types.ModuleType:
            if _text(vars(value).get("__name__")) == "weakref":
                return True
        elif cls is types.FunctionType:
            home = _text(value.__module__)
            if home in _WEAK or (home == module and _may_finalize(value.__code__)):
                return True
        elif cls is types.BuiltinFunctionType:
            if _text(value.__module__) in _WEAK:
                return True
        elif not is_a(value, type):
            if module_of(cls) in _WEAK:
                return True
        elif module_of(value) in _WEAK:
            return True
        elif module_of(value) == module and id(value) not in seen:  # a class may hold itself
            seen.add(id(value))
            members = namespace(value)
            if "__del__" in members:
                return True
            todo.extend(list(members.values()))
    return False


def _text(name: Any) -> str:
    """The name, or ``""`` where it is not a plain string."""
    return name if type(name) is str else ""


def _may_finalize(code: types.CodeType) -> bool:
    """Whether generators of that code clean up, or classes that it makes have finalizers."""
    if code.co_name == "__del__":
        return True
    if code.co_flags & _GENERATOR and any(
        instruction.opname == "PUSH_EXC_INFO" for instruction in dis.get_instructions(code)
    ):
        return True
    return any(_may_finalize(inner) for inner in code.co_consts if type(inner) is types.CodeType)
