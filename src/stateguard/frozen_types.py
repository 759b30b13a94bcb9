"""The classes of frozen values: lists, dictionaries and instances whose changing methods raise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from stateguard.errors import FreezeError

HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: what classes written in Python have, and built-in ones have not."""


def _refuse(name: str) -> Callable[..., NoReturn]:
    def method(self: object, *args: object, **kwargs: object) -> NoReturn:
        kind = type(self).__mro__[1].__name__
        raise FreezeError(
            f"{name}: this {kind} was frozen, because all requests share it. Make a changed copy "
            f"({kind}(frozen)), or keep per-request data in a session, scoped() or a store"
        )

    return method


_LIST_WRITES = ("append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse")
_LIST_OPERATORS = ("__setitem__", "__delitem__", "__iadd__", "__imul__")
_DICT_WRITES = ("update", "setdefault", "pop", "popitem", "clear")
_DICT_OPERATORS = ("__setitem__", "__delitem__", "__ior__")


class FrozenList(list[Any]):
    """A list that refuses to change; equal to the list it was made from, and an exact ``list`` to C code."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # unlike what it was, it can be hashed
        return hash(tuple(self))

    def __copy__(self) -> FrozenList:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        # A deep copy is made to be changed.
        import copy

        return [copy.deepcopy(item, memo) for item in self]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (FrozenList, (list(self),))

    for _name in (*_LIST_WRITES, *_LIST_OPERATORS):
        locals()[_name] = _refuse(_name)


class FrozenDict(dict[Any, Any]):
    """A dict that refuses to change; equal to the dict it was made from, and an exact ``dict`` to C code."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # unlike what it was, it can be hashed
        return hash(frozenset(self.items()))

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        import copy

        return {copy.deepcopy(key, memo): copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (FrozenDict, (dict(self),))

    @classmethod
    def fromkeys(cls, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """A new plain dict: nothing is shared yet."""
        return dict.fromkeys(keys, value)

    for _name in (*_DICT_WRITES, *_DICT_OPERATORS):
        locals()[_name] = _refuse(_name)


def attributes(value: Any) -> Iterable[str]:
    """The names of an instance's attributes, those in slots included; none of its class's."""
    names = list(getattr(value, "__dict__", ()))
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            full = (
                f"_{base.__name__.lstrip('_')}{name}"
                if name.startswith("__") and not name.endswith("__")
                else name
            )
            if full not in {"__dict__", "__weakref__"} and hasattr(value, full):
                names.append(full)
    return names


def is_own_container(kind: type) -> bool:
    """Whether a class derives from list or dict by classes written in Python only (``Counter`` is one)."""
    if kind in (list, dict) or not issubclass(kind, list | dict):
        return False
    own = kind.__mro__[: kind.__mro__.index(dict if issubclass(kind, dict) else list)]
    return all(base.__flags__ & HEAP_TYPE for base in own) and kind not in (FrozenList, FrozenDict)


_classes: dict[type, type] = {}


def is_frozen_class(kind: type) -> bool:
    """Whether instances of ``kind`` are frozen ones."""
    return "_stateguard_frozen" in vars(kind)


def frozen_class(kind: type) -> type:
    """A subclass of ``kind`` whose instances refuse to change."""
    found = _classes.get(kind)
    if found is not None:
        return found

    def refuse_set(self: Any, name: str, value: Any = None) -> NoReturn:
        raise FreezeError(
            f"{kind.__qualname__}.{name}: this object was frozen, because all requests share it. Make a "
            "changed copy, or keep per-request data in a session, scoped() or a store"
        )

    def equal(self: Any, other: Any) -> Any:
        if type(other) not in (kind, type(self)):
            return NotImplemented
        names = attributes(self)
        return all(hasattr(other, name) and getattr(self, name) == getattr(other, name) for name in names)

    def reduce(self: Any, protocol: Any) -> Any:
        return (_frozen_copy, (kind, _state(self), _content(self)))

    # An instance of the class itself, which can be changed: that is what one makes a copy for.

    def copy(self: Any) -> Any:
        return _filled(kind, _state(self), _content(self))

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        from copy import deepcopy

        return _filled(kind, deepcopy(_state(self), memo), deepcopy(_content(self), memo))

    body: dict[str, Any] = {
        "_stateguard_frozen": True,
        "__setattr__": refuse_set,
        "__delattr__": refuse_set,
        "__reduce_ex__": reduce,
        "__copy__": copy,
        "__deepcopy__": deepcopy,
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "__slots__": (),
    }
    if dataclasses.is_dataclass(kind):
        # The equality that dataclass() wrote compares classes first, and these two are not the same.
        body["__eq__"] = equal
        body["__hash__"] = lambda self: hash(tuple(getattr(self, name) for name in attributes(self)))
    if issubclass(kind, list):
        body |= {name: _refuse(name) for name in (*_LIST_WRITES, *_LIST_OPERATORS)}
    elif issubclass(kind, dict):
        body |= {name: _refuse(name) for name in (*_DICT_WRITES, *_DICT_OPERATORS)}
    metaclass: Any = type(kind)
    made: type = metaclass(kind.__name__, (kind,), body)
    made.__qualname__ = kind.__qualname__
    _classes[kind] = made
    return made


def _state(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in attributes(value)}


def _content(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value.items())
    return list(value) if isinstance(value, list) else None


def _frozen_copy(kind: type, attributes: dict[str, Any], content: Any = None) -> Any:
    return _filled(frozen_class(kind), attributes, content)


def _filled(kind: type, attributes: dict[str, Any], content: Any) -> Any:
    made: Any
    if content is None:
        made = object.__new__(kind)
    elif isinstance(content, dict):
        made = dict.__new__(kind)
        dict.update(made, content)
    else:
        made = list.__new__(kind)
        list.extend(made, content)
    for name, value in attributes.items():
        is_bookkeeping = name.startswith("__pydantic_") and isinstance(value, set | dict)
        object.__setattr__(made, name, value.copy() if is_bookkeeping else value)
    return made
