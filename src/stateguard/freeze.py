"""Shared state that can not change: an immutable equal of a value.

What never changes can be shared by all requests without a lock, a scope or a copy. ``freeze`` makes an
immutable equal of configuration, tool definitions, tables. Lists and dictionaries become subclasses of
``list`` and ``dict`` whose changing methods raise, because ``json``, ``anthropic`` and pydantic take exactly
these; ``freeze(value, strict=True)`` makes tuples and ``MappingProxyType``, which not even
``list.append(frozen, x)`` changes, and which most of C code refuses.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import logging
import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn, TypeVar, cast

from stateguard.errors import FreezeError

T = TypeVar("T")

log = logging.getLogger("stateguard.freeze")

_FROZEN_TYPES = (
    *(str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented), range, enum.Enum),
    *(type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.GenericAlias),
)
"""Immutable as they are. Classes, functions and modules are shared on purpose."""

_FROZEN_MODULES = {
    "datetime",
    "decimal",
    "fractions",
    "ipaddress",
    "pathlib",
    "re",
    "typing",
    "uuid",
    "zoneinfo",
}
"""Modules of the standard library whose classes have immutable instances: by name, to import none of them."""


def _refuse(name: str) -> Callable[..., NoReturn]:
    def method(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise FreezeError(
            f"{name}: this {type(self).__base__.__name__} was frozen, because all requests share it. "  # type: ignore[union-attr]
            f"Make a changed copy ({type(self).__base__.__name__}(frozen)), or keep per-request data in a "  # type: ignore[union-attr]
            "session, scoped() or a store"
        )

    return method


_LIST_WRITES = ("append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse")
_LIST_OPERATORS = ("__setitem__", "__delitem__", "__iadd__", "__imul__")
_DICT_WRITES = ("update", "setdefault", "pop", "popitem", "clear")
_DICT_OPERATORS = ("__setitem__", "__delitem__", "__ior__")


class FrozenList(list[Any]):
    """A list that refuses to change; equal to the list it was made from, and an exact ``list`` to C code."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
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

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __copy__(self) -> FrozenDict:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        import copy

        return {copy.deepcopy(key, memo): copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (FrozenDict, (dict(self),))

    for _name in (*_DICT_WRITES, *_DICT_OPERATORS):
        locals()[_name] = _refuse(_name)


def freeze(value: T, *, strict: bool = False, on_unfreezable: Literal["raise", "keep"] = "raise") -> T:
    """A deeply immutable equal of ``value``; ``value`` itself is not touched.

    Lists, dictionaries, sets, tuples, ``bytearray``, dataclasses and plain objects are copied, at any depth;
    what is immutable already is shared. Lists and dictionaries stay lists and dictionaries to ``isinstance``,
    ``json`` and C code, and raise :class:`FreezeError` when changed; with ``strict=True`` they become tuples
    and ``MappingProxyType``. Sets become ``frozenset``. An instance of a dataclass or of a plain class
    becomes an instance of a frozen subclass of its class.

    Raises :class:`FreezeError` listing every place that could not be frozen and why (an open file, a lock, a
    generator, an object with state in C); with ``on_unfreezable="keep"`` these stay what they are and are
    logged.
    """
    work = _Freezer(strict)
    frozen = work.value(value, "value")
    if work.failures:
        text = "could not freeze everything:\n" + "\n".join(f"  {line}" for line in work.failures)
        if on_unfreezable == "raise":
            raise FreezeError(text)
        log.warning("%s", text)
    return cast("T", frozen)


class _Freezer:
    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.failures: list[str] = []
        self.done: dict[int, tuple[Any, Any]] = {}
        self.open: set[int] = set()

    def value(self, value: Any, place: str) -> Any:
        if isinstance(value, (FrozenList, FrozenDict)) and not self.strict:
            return value
        if isinstance(value, _FROZEN_TYPES) or _is_frozen_class(type(value)):
            return value
        if any(base.__module__.partition(".")[0] in _FROZEN_MODULES for base in type(value).__mro__[:-1]):
            return value
        key = id(value)
        if key in self.done:
            return self.done[key][1]
        if key in self.open:
            self.failures.append(
                f"{place}: contains itself, and what is immutable can not be made in a circle"
            )
            return value
        self.open.add(key)
        frozen = self.container(value, place)
        self.open.discard(key)
        self.done[key] = (value, frozen)  # holding value keeps its id from being used again
        return frozen

    def container(self, value: Any, place: str) -> Any:
        kind = type(value)
        if isinstance(value, dict):
            return self.mapping(value, place)
        if isinstance(value, types.MappingProxyType):
            return types.MappingProxyType(dict(self.mapping(dict(value), place)))
        if isinstance(value, tuple):
            items = [self.value(item, f"{place}[{index}]") for index, item in enumerate(value)]
            if all(new is old for new, old in zip(items, value, strict=True)):
                return value
            make: Any = kind
            return make(*items) if hasattr(kind, "_fields") else tuple(items)
        if isinstance(value, list):
            items = [self.value(item, f"{place}[{index}]") for index, item in enumerate(value)]
            return tuple(items) if self.strict else FrozenList(items)
        if isinstance(value, (set, frozenset)):
            return frozenset(self.value(item, f"{place}{{...}}") for item in value)
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, functools.partial):
            parts: list[Any] = [self.value(part, f"{place} arguments") for part in (value.func, *value.args)]
            named = {name: self.value(part, f"{place}.{name}") for name, part in value.keywords.items()}
            return functools.partial(parts[0], *parts[1:], **named)
        return self.instance(value, place)

    def mapping(self, value: dict[Any, Any], place: str) -> Any:
        items = {
            self.value(key, f"{place} key"): self.value(item, f"{place}[{key!r}]")
            for key, item in value.items()
        }
        return types.MappingProxyType(items) if self.strict else FrozenDict(items)

    def instance(self, value: Any, place: str) -> Any:
        kind = type(value)
        reason = _unfreezable(value)
        if reason:
            self.failures.append(f"{place}: a {kind.__module__}.{kind.__qualname__}, {reason}")
            return value
        made: Any
        try:
            made = object.__new__(_frozen_class(kind))
        except Exception as error:  # a metaclass, or __init_subclass__, that objects
            self.failures.append(f"{place}: a {kind.__module__}.{kind.__qualname__}, {error}")
            return value
        for name in _attributes(value):
            object.__setattr__(made, name, self.value(getattr(value, name), f"{place}.{name}"))
        return made


def _unfreezable(value: Any) -> str:
    """Why an instance can not be copied attribute by attribute, or ``""``."""
    kind = type(value)
    if hasattr(kind, "__next__"):
        return "an iterator: using it changes it. Freeze a list of what it gives"
    # What a class written in Python inherits from object is all there is; anything else has state in C.
    for base in kind.__mro__[:-1]:
        if not base.__flags__ & (1 << 9):  # Py_TPFLAGS_HEAPTYPE
            return "whose state is not in attributes"
    if "__setattr__" in vars(kind) and not dataclasses.is_dataclass(kind):
        return "which decides itself what setting an attribute does"
    if not hasattr(value, "__dict__") and not any("__slots__" in vars(base) for base in kind.__mro__[:-1]):
        return "whose state is not in attributes"
    if kind.__module__.partition(".")[0] in _STATEFUL_MODULES:
        return "which exists to change"
    return ""


_STATEFUL_MODULES = {
    "threading",
    "asyncio",
    "queue",
    "logging",
    "socket",
    "ssl",
    "selectors",
    "subprocess",
    "random",
}


def _attributes(value: Any) -> Iterable[str]:
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


_classes: dict[type, type] = {}


def _is_frozen_class(kind: type) -> bool:
    return "_stateguard_frozen" in vars(kind)


def _frozen_class(kind: type) -> type:
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
        names = _attributes(self)
        return all(hasattr(other, name) and getattr(self, name) == getattr(other, name) for name in names)

    def reduce(self: Any, protocol: Any) -> Any:
        return (_thaw_copy, (kind, {name: getattr(self, name) for name in _attributes(self)}))

    body: dict[str, Any] = {
        "_stateguard_frozen": True,
        "__setattr__": refuse_set,
        "__delattr__": refuse_set,
        "__reduce_ex__": reduce,
        "__copy__": lambda self: self,
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "__slots__": (),
    }
    if dataclasses.is_dataclass(kind):
        # The equality that dataclass() wrote compares classes first, and these two are not the same.
        body["__eq__"] = equal
        body["__hash__"] = lambda self: hash(tuple(getattr(self, name) for name in _attributes(self)))
    made = type(kind)(kind.__name__, (kind,), body)
    made.__qualname__ = kind.__qualname__
    _classes[kind] = made
    return made


def _thaw_copy(kind: type, attributes: dict[str, Any]) -> Any:
    made: Any = object.__new__(_frozen_class(kind))
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made
