"""A module of constants that stays constant: its values frozen, and later rebinding reported."""

from __future__ import annotations

import dataclasses
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
        """The names that no longer hold what was frozen: ``global X; X = ...`` in the module's own functions.

        Such a write goes past every hook that Python has, so it is found afterwards, and its line by a
        ``Guard`` that watches the module.
        """
        now = vars(self.module)
        return sorted(name for name, value in self._values.items() if now.get(name, self) is not value)

    def thaw(self) -> None:
        """Let the module change again, for tests: its constants are what they were before freezing."""
        _modules.pop(self.module.__name__, None)
        if type(self.module) is _FrozenModule:
            object.__setattr__(self.module, "__class__", self._class)
        vars(self.module).update(self._originals)


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
