"""Whether letting go of an object may run code: a finalizer, or what a weak reference calls."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any
from weakref import getweakrefcount

from stateguard.watch.compare import types_of
from stateguard.watch.content import referents
from stateguard.watch.kinds import TypeInfo, is_visited, mro, namespace, type_flags

if TYPE_CHECKING:
    from stateguard.watch.index import Index

_MADE_IN_PYTHON = 1 << 9
"""The flag of types that are not built into the interpreter (``Py_TPFLAGS_HEAPTYPE``)."""

MOST = 1024
"""Objects that are asked at most: that takes a millisecond."""

_BEYOND = frozenset(
    map(id, (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType))
)
"""What these lead to stays, in all likelihood."""

_CLEANING_UP = frozenset(map(id, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)))

_weak_offset = type.__dict__["__weakrefoffset__"].__get__


def runs_code(info: TypeInfo, obj: Any) -> bool:
    """Whether something may run when the last reference to ``obj`` itself is gone."""
    if info.ends is None:
        info.ends = _ends(info.cls)
    return info.ends == "runs code" or (info.ends == "may be heard of" and getweakrefcount(obj) > 0)


def may_run_code(objects: list[Any], but: Index) -> bool:
    """The same of any of these and of what they hold, but for what is in an index.

    What has not been walked, or never is, may hold anything. Yes if that is more than :data:`MOST` objects.
    """
    kinds: dict[int, str] = {}
    seen: set[int] = set()
    todo = [objects]
    while todo:
        some = todo.pop()
        for cls in types_of(some):
            if id(cls) not in kinds:
                kinds[id(cls)] = _kind(cls)
        if all(kind == "atom" for kind in kinds.values()):
            continue
        for obj in some:
            kind = kinds[id(type(obj))]
            if kind == "atom" or id(obj) in but or id(obj) in seen:
                continue
            if kind == "runs code" or getweakrefcount(obj):
                return True
            if kind == "holds others":
                seen.add(id(obj))
                if len(seen) > MOST:
                    return True
                todo.append(referents(obj))
    return False


def _kind(cls: type) -> str:
    ends = _ends(cls)
    if ends == "runs code":
        return ends
    if id(cls) in _BEYOND or any(base is type for base in mro(cls)):
        return "atom"
    if is_visited(cls):
        return "holds others"
    return "atom" if ends == "in silence" else ends


def _ends(cls: type) -> str:
    if id(cls) in _CLEANING_UP:
        return "runs code"
    if type_flags(cls) & _MADE_IN_PYTHON and any("__del__" in namespace(base) for base in mro(cls)):
        return "runs code"
    return "may be heard of" if _weak_offset(cls) else "in silence"
