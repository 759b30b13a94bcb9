"""Find the application object and the middleware instances behind whatever callable is wrapped."""

from __future__ import annotations

import types
from typing import Any

from stateguard.watch.content import own_dict
from stateguard.watch.kinds import TypeTable, is_a

_INWARD = (
    "app",
    "_app",
    "wsgi_app",
    "application",
    "inner",
    "get_response",
    "_middleware_chain",
    "middleware_stack",
)
"""Attributes under which a middleware keeps what it wraps."""

LIMIT = 50

_TYPES = TypeTable(lambda _: False, {})


def application_chain(app: Any) -> list[Any]:
    """The instances from ``app`` inwards, each once, outermost first; functions are looked through."""
    found: list[Any] = []
    seen: set[int] = set()
    todo = [app]
    while todo and len(found) < LIMIT:
        obj = todo.pop(0)
        if obj is None or id(obj) in seen:
            continue
        seen.add(id(obj))
        if type(obj) is types.MethodType:
            todo.append(obj.__self__)
        elif type(obj) is types.FunctionType:
            for cell in obj.__closure__ or ():
                try:
                    todo.append(cell.cell_contents)
                except ValueError:
                    continue
        elif not any(is_a(obj, cls) for cls in (type, types.ModuleType, types.BuiltinFunctionType)):
            own = own_dict(_TYPES.expanded(type(obj)), obj)
            if own is None or is_a(own, type(obj)):
                continue
            inward = [own[name] for name in _INWARD if name in own]
            if inward or obj is app:
                found.append(obj)
            todo.extend(inward)
    return found
