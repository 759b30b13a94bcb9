"""What is found under which name in a module: read without running application code."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

from stateguard.watch.kinds import is_a, module_of, namespace, qualname

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_module_dict: Callable[[types.ModuleType], dict[str, Any]] = vars(types.ModuleType)["__dict__"].__get__


def module_dict(module: types.ModuleType) -> dict[str, Any]:
    """The module's globals, read past any override."""
    return _module_dict(module)


def is_in_its_module(obj: Any) -> bool:
    """Whether a class or a function is found in the module that defines it, under its own name."""
    if type(obj) is types.FunctionType:
        name, path = obj.__module__, obj.__qualname__
    elif is_a(obj, type):
        name, path = module_of(obj), qualname(obj)
    else:
        return False
    module = sys.modules.get(name) if type(name) is str else None
    if not is_a(module, types.ModuleType):
        return False
    first, *rest = path.split(".")
    found = _entry(module_dict(module), first)  # type: ignore[arg-type]
    for part in rest:
        if not is_a(found, type):
            return False
        found = _entry(namespace(found), part)
    if type(found) is staticmethod or type(found) is classmethod:
        found = found.__func__
    return found is obj


def _entry(names: Mapping[str, Any], name: str) -> Any:
    """What lies under a name. Asking for it might compare it with a key that is no string."""
    return next((value for key, value in list(names.items()) if type(key) is str and key == name), None)
