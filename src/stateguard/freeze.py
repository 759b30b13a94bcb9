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
from typing import Any, Literal, TypeVar, cast

from stateguard.errors import FreezeError
from stateguard.frozen_types import (
    HEAP_TYPE,
    FrozenDict,
    FrozenList,
    attributes,
    frozen_class,
    is_frozen_class,
    is_own_container,
)

T = TypeVar("T")

log = logging.getLogger("stateguard.freeze")

_FROZEN_TYPES = (
    *(
        str,
        bytes,
        int,
        float,
        complex,
        bool,
        type(None),
        type(...),
        type(NotImplemented),
        range,
        slice,
        enum.Enum,
    ),
    *(type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.GenericAlias),
)
"""Immutable as they are. Classes, functions and modules are shared on purpose."""

_TEXTS_AND_NUMBERS = (str, bytes, int, float, complex)

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
    try:
        frozen = work.value(value, "value")
    except RecursionError:
        raise FreezeError("could not freeze: the value is nested too deeply") from None
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
        if is_frozen_class(type(value)):
            return value
        if isinstance(value, _FROZEN_TYPES):
            if isinstance(value, _TEXTS_AND_NUMBERS) and getattr(value, "__dict__", None):
                self.failures.append(f"{place}: a {type(value).__qualname__} with attributes of its own")
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
        if not self.strict and is_own_container(kind):
            return self.own_container(value, place)
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

    def own_container(self, value: Any, place: str) -> Any:
        """An instance of a class written in Python that derives from list or dict: its methods are kept."""
        kind: Any = frozen_class(type(value))
        made: Any
        if isinstance(value, dict):
            made = dict.__new__(kind)
            dict.update(made, self.mapping(value, place))
        else:
            made = list.__new__(kind)
            list.extend(made, [self.value(item, f"{place}[{i}]") for i, item in enumerate(list.copy(value))])
        for name in attributes(value):
            object.__setattr__(made, name, self.value(getattr(value, name), f"{place}.{name}"))
        return made

    def instance(self, value: Any, place: str) -> Any:
        kind = type(value)
        reason = _unfreezable(value)
        if reason:
            self.failures.append(f"{place}: a {kind.__module__}.{kind.__qualname__}, {reason}")
            return value
        made: Any
        try:
            made = object.__new__(frozen_class(kind))
        except Exception as error:  # a metaclass, or __init_subclass__, that objects
            self.failures.append(f"{place}: a {kind.__module__}.{kind.__qualname__}, {error}")
            return value
        for name in attributes(value):
            member = getattr(value, name)
            if not name.startswith("__pydantic_"):  # its own bookkeeping, which it copies and updates
                member = self.value(member, f"{place}.{name}")
            elif isinstance(member, set | dict):
                member = member.copy()
            object.__setattr__(made, name, member)
        return made


def _unfreezable(value: Any) -> str:
    """Why an instance can not be copied attribute by attribute, or ``""``."""
    kind = type(value)
    if hasattr(kind, "__next__"):
        return "an iterator: using it changes it. Freeze a list of what it gives"
    # What a class written in Python inherits from object is all there is; anything else has state in C.
    for base in kind.__mro__[:-1]:
        if not base.__flags__ & HEAP_TYPE:
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
