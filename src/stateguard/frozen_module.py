"""A module of constants that stays constant: its values frozen, and later rebinding reported."""

from __future__ import annotations

import dataclasses
import dis
import gc
import logging
import sys
import types
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, Literal

from stateguard.errors import ConfigError, FreezeError
from stateguard.freeze import freeze

log = logging.getLogger("stateguard.freeze")


class _FrozenModule(types.ModuleType):
    """The class that a frozen module gets: rebinding its constants is reported."""

    def __setattr__(self, name: str, value: Any) -> None:
        rule = _modules.get(self.__name__)
        if rule is not None and rule.covers(name, vars(self)):
            rule.report(f"{self.__name__}.{name} was rebound")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        rule = _modules.get(self.__name__)
        if rule is not None and rule.covers(name, vars(self)):
            rule.report(f"{self.__name__}.{name} was deleted")
        super().__delattr__(name)


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    names: frozenset[str]
    on_write: Literal["raise", "log"]

    def covers(self, name: str, namespace: dict[str, Any]) -> bool:
        return name in self.names and name in namespace

    def report(self, what: str) -> None:
        frame = sys._getframe(2)
        text = (
            f"{what} at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}, but it was "
            "frozen: all requests share it"
        )
        if self.on_write == "raise":
            raise FreezeError(text)
        log.error("%s", text)


_modules: dict[str, _Rule] = {}


class FrozenModule:
    """A handle on a frozen module: ``check()`` finds what was rebound from within, ``thaw()`` undoes it."""

    def __init__(self, module: types.ModuleType, names: frozenset[str], rule: _Rule) -> None:
        self.module = module
        self.names = names
        self._rule = rule
        self._values = {name: vars(module)[name] for name in names}
        self._originals: dict[str, Any] = {}
        self._class: type[types.ModuleType] = type(module)

    def check(self) -> list[str]:
        """One line for each name that no longer holds what was frozen, with the places that rebind it.

        ``global X; X = ...`` in the module's own functions goes past every hook that Python has, so it is
        found afterwards: the places are those in whose code such a statement stands, and a ``Guard`` that
        watches the module tells which request did it. A name without a place was written through the
        module's ``__dict__``.
        """
        now = vars(self.module)
        changed = sorted(name for name, value in self._values.items() if now.get(name, self) is not value)
        places = _rebinding_places(now, set(changed))
        return [
            f"{self.module.__name__}.{name} was {'rebound' if name in now else 'deleted'}"
            + (f"; code that does so: {', '.join(places[name])}" if name in places else _BY_DICT)
            for name in changed
        ]

    def thaw(self) -> None:
        """Let the module change again, for tests: its constants are what they were before freezing."""
        _modules.pop(self.module.__name__, None)
        if type(self.module) is _FrozenModule:
            object.__setattr__(self.module, "__class__", self._class)
        vars(self.module).update(self._originals)


_BY_DICT = "; none of its functions does so by name, so it went through the module's __dict__"


def _rebinding_places(namespace: dict[str, Any], names: set[str]) -> dict[str, list[str]]:
    """By name, where code of the functions with these globals has ``global name`` and assigns to it."""
    found: dict[str, list[str]] = {}
    if not names:
        return found
    codes = {
        function.__code__
        for function in gc.get_objects()
        if type(function) is types.FunctionType and function.__globals__ is namespace
    }
    seen: set[types.CodeType] = set()
    while codes:
        code = codes.pop()
        seen.add(code)
        codes |= {const for const in code.co_consts if isinstance(const, types.CodeType)} - seen
        for instruction in dis.get_instructions(code):
            name = instruction.argval
            if instruction.opname in {"STORE_GLOBAL", "DELETE_GLOBAL"} and name in names:
                line = instruction.positions.lineno if instruction.positions is not None else None
                place = f"{code.co_filename}:{line or code.co_firstlineno} in {code.co_qualname}"
                if place not in found.setdefault(name, []):
                    found[name].append(place)
    return {name: sorted(places) for name, places in found.items()}


def freeze_module(
    module: str | types.ModuleType,
    *,
    names: str | Iterable[str] = "[A-Z]*",
    after: Literal["now", "startup"] = "now",
    on_write: Literal["raise", "log"] = "raise",
) -> FrozenModule | Callable[[], FrozenModule]:
    """Freeze the constants of a module, and report whoever rebinds one later, with the place.

    ``names`` are globs, by default the names that begin with a capital and are not classes or functions.
    Values that can not be frozen stay as they are and are logged. Other modules that did
    ``from myapp.config import X`` before keep the thing that can still change: freeze the module before they
    are imported, or at its own end (``freeze_module(__name__)``).

    ``after="startup"`` freezes nothing yet, and returns the function to call once the application has
    started: its ``lifespan`` or ``on_startup``. ``on_write`` is ``"raise"`` or ``"log"``.

    Raises :class:`ConfigError` when the module is not imported, or has no such name.
    """
    if after not in {"now", "startup"} or on_write not in {"raise", "log"}:
        raise ConfigError(
            f"freeze_module(after={after!r}, on_write={on_write!r}): 'now' or 'startup'; 'raise' or 'log'"
        )
    if after == "startup":
        return lambda: _freeze_now(module, names, on_write)
    return _freeze_now(module, names, on_write)


def _freeze_now(
    module: str | types.ModuleType, names: str | Iterable[str], on_write: Literal["raise", "log"]
) -> FrozenModule:
    found = sys.modules.get(module) if isinstance(module, str) else module
    if found is None:
        raise ConfigError(f"freeze_module({module!r}): no such module has been imported; import it first")
    patterns = [names] if isinstance(names, str) else list(names)
    namespace = vars(found)
    chosen = frozenset(
        name
        for name, value in namespace.items()
        if not name.startswith("__")
        and any(fnmatchcase(name, pattern) for pattern in patterns)
        and not isinstance(value, type | types.FunctionType | types.ModuleType)
    )
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in chosen):
            raise ConfigError(
                f"freeze_module({found.__name__!r}, names={pattern!r}): the module has no such constant"
            )
    originals = {name: namespace[name] for name in chosen}
    for name in chosen:
        namespace[name] = freeze(namespace[name], on_unfreezable="keep")
    rule = _Rule(chosen, on_write)
    handle = FrozenModule(found, chosen, rule)
    handle._originals = originals
    _modules[found.__name__] = rule
    if type(found) is types.ModuleType:
        found.__class__ = _FrozenModule
    return handle
