"""Tell, from an object's type alone, how the object is walked.

Looking at an instance must not run application code, so nothing here asks the instance: types are read
through the slots of ``type`` itself, which a metaclass cannot intercept.
"""

from __future__ import annotations

import collections
import contextvars
import functools
import io
import itertools
import threading
import types
import weakref
from array import array
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from stateguard.watch.patterns import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping


class Kind(IntEnum):
    """How a node is walked and compared."""

    LEAF = 0
    """Immutable, or a boundary: only its identity counts."""
    LIST = 1
    DEQUE = 2
    DICT = 3
    ORDERED = 4
    SET = 5
    TUPLE = 6
    FROZENSET = 7
    INSTANCE = 8
    CLASS = 9
    FUNCTION = 10
    CELL = 11
    CACHE = 12
    """The C table of ``lru_cache``: filling it is its job, editing a cached value is not."""
    THROUGH = 13
    """Never changes itself, but leads to something that may: partial, bound method, context variable."""
    BUFFER = 14
    TICKER = 15
    """``itertools.count``: its position is state that no reference shows."""
    LOCAL = 16
    """``threading.local``: walked per thread, by :mod:`stateguard.watch.residue`."""
    GENERATOR = 17
    """Its local variables live on between two calls. Only those that a name holds are walked."""


STATIC = frozenset({Kind.TUPLE, Kind.FROZENSET, Kind.THROUGH})
"""Kinds whose references never change: walked once, never compared."""

_namespace_of = type.__dict__["__dict__"].__get__
type_flags = type.__dict__["__flags__"].__get__
"""The flags of a type, read past any metaclass."""
_mro_of = type.__dict__["__mro__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_name_of = type.__dict__["__module__"].__get__


_VISITED = 1 << 14
"""The flag of types whose objects the garbage collector visits (``Py_TPFLAGS_HAVE_GC``)."""


def is_visited(cls: type) -> bool:
    """Whether the garbage collector visits objects of that type: the others hold none."""
    return bool(type_flags(cls) & _VISITED)


def namespace(cls: type) -> Mapping[str, Any]:
    """The class's own attributes, read past any metaclass."""
    return _namespace_of(cls)  # type: ignore[no-any-return]


def mro(cls: type) -> tuple[type, ...]:
    """The classes to search for an attribute, read past any metaclass."""
    return _mro_of(cls)  # type: ignore[no-any-return]


def qualname(cls: type) -> str:
    """The class's dotted name inside its module."""
    return _qualname_of(cls)  # type: ignore[no-any-return]


def module_of(cls: type) -> str:
    """The name of the module that defines the class, or ``""``."""
    module = namespace(cls).get("__module__")
    if module is None:
        module = _name_of(cls)
    return module if type(module) is str else ""


def is_a(value: Any, cls: type) -> bool:
    """``isinstance`` by the object's real type: ``__class__`` and metaclass hooks are application code."""
    return any(base is cls for base in mro(type(value)))


_DICT_DESCRIPTORS = (types.GetSetDescriptorType, types.MemberDescriptorType)


def _dict_getter(cls: type) -> Callable[[Any], dict[str, Any]] | None:
    for base in mro(cls):
        found = namespace(base).get("__dict__")
        # A property called __dict__ is application code; the real descriptor is further along the MRO.
        if type(found) in _DICT_DESCRIPTORS:
            return found.__get__  # type: ignore[no-any-return,union-attr]
    return None


def _slots(cls: type) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    found: dict[str, Callable[[Any], Any]] = {}
    for base in mro(cls):
        own = namespace(base)
        if "__slots__" in own:
            for name, value in own.items():
                if type(value) is types.MemberDescriptorType and name not in found and name != "__dict__":
                    found[name] = value.__get__
    return tuple(found.items())


class TypeInfo:
    """What is known of one type. Never changed, but for :attr:`ends`, which is found out when asked for."""

    __slots__ = ("cls", "dict_of", "ends", "exact", "kind", "only", "slots", "tender")

    def __init__(
        self,
        cls: type,
        kind: Kind,
        exact: bool = True,
        dict_of: Callable[[Any], dict[str, Any]] | None = None,
        slots: tuple[tuple[str, Callable[[Any], Any]], ...] = (),
        only: Container[str] | None = None,
        tender: bool = False,
    ) -> None:
        self.cls = cls
        self.kind = kind
        self.exact = exact
        self.dict_of = dict_of
        self.slots = slots
        self.only = only
        """The attributes that are state, when the others are a library's own business."""
        self.tender = tender
        """Holding a reference changes what the application may do with it (``numpy.ndarray.resize``)."""
        self.ends: str | None = None
        """What becomes of an instance that nothing refers to: see ``finalizing.py``, which finds out."""

    def limited(self, only: Container[str]) -> TypeInfo:
        """The same, with these attributes being state only."""
        return TypeInfo(self.cls, self.kind, self.exact, self.dict_of, self.slots, only, self.tender)


def _through(*named: Any) -> dict[type, Kind]:
    return dict.fromkeys(named, Kind.THROUGH)


_BUILTIN: dict[type, Kind] = {
    list: Kind.LIST,
    collections.deque: Kind.DEQUE,
    collections.OrderedDict: Kind.ORDERED,
    dict: Kind.DICT,
    set: Kind.SET,
    tuple: Kind.TUPLE,
    frozenset: Kind.FROZENSET,
    bytearray: Kind.BUFFER,
    array: Kind.BUFFER,
    io.BytesIO: Kind.BUFFER,
    io.StringIO: Kind.BUFFER,
    threading.local: Kind.LOCAL,
}
"""Container types that may be subclassed, most derived first."""

_EXACT: dict[type, Kind] = {
    types.FunctionType: Kind.FUNCTION,
    types.CellType: Kind.CELL,
    functools._lru_cache_wrapper: Kind.CACHE,
    itertools.count: Kind.TICKER,
    types.GeneratorType: Kind.GENERATOR,
    types.AsyncGeneratorType: Kind.GENERATOR,
    **_through(
        types.MethodType,
        types.MappingProxyType,
        functools.partial,
        functools.partialmethod,
        staticmethod,
        classmethod,
        property,
        contextvars.ContextVar,
        memoryview,
    ),
}

_STDLIB_INSTANCES = frozenset(
    {
        "collections.UserDict",
        "collections.UserList",
        "collections.UserString",
        "collections.ChainMap",
        "types.SimpleNamespace",
        "argparse.Namespace",
        "weakref.WeakValueDictionary",
        "weakref.WeakKeyDictionary",
        "functools.singledispatchmethod",
        "string.Formatter",
    }
)

_MODEL_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__pydantic_fields__", "__pydantic_core_schema__")

_NEVER = frozenset(
    {
        weakref.ref,
        weakref.ProxyType,
        types.ModuleType,
        types.CoroutineType,
        types.FrameType,
        types.TracebackType,
        types.CodeType,
    }
)

_TYPES_KEPT = 8192

_MADE_KEPT = 64
"""Classes made inside functions that are known at a time."""


class TypeTable:
    """Classifies types for one watch: which modules are ours decides whose instances are walked."""

    def __init__(self, is_watched: Callable[[str], bool], surfaces: Mapping[str, tuple[str, ...]]) -> None:
        self._is_watched = is_watched
        self._surfaces = {name: Names(attributes) for name, attributes in surfaces.items()}
        self._known: dict[int, TypeInfo] = {}
        self._leaves: set[int] = set()
        self._made: list[int] = []

    def forget(self) -> None:
        """Classify anew: the set of watched modules has grown."""
        self._known.clear()
        self._made.clear()
        self._leaves.clear()

    def info(self, cls: type) -> TypeInfo:
        """What is known of ``cls``; kept, keyed by identity because a metaclass may define ``__hash__``."""
        found = self._known.get(id(cls))
        if found is None:
            if len(self._known) >= _TYPES_KEPT:  # classes made per request must not pile up here
                self.forget()
            found = self._known[id(cls)] = self._classify(cls)
            if found.kind is Kind.LEAF:
                self._leaves.add(id(cls))
            if "<locals>" in qualname(cls):
                self._note_made(cls)
        return found

    def _note_made(self, cls: type) -> None:
        # To be known is to be kept alive: with all that hangs off a class that a request has made for itself.
        self._made.append(id(cls))
        if len(self._made) > _MADE_KEPT:
            for key in self._made[:-1]:
                self._known.pop(key, None)
                self._leaves.discard(key)
            del self._made[:-1]

    def are_leaves(self, objects: list[Any]) -> bool:
        """Whether all of them are known to be leaves. May say no of types that were never met."""
        return self._leaves.issuperset(map(id, map(type, objects)))

    def watches(self, module: object) -> bool:
        """Whether a module of that name is watched."""
        return type(module) is str and self._is_watched(module)

    def _classify(self, cls: type) -> TypeInfo:
        kind = _EXACT.get(_hashable(cls))
        if kind is not None:
            return TypeInfo(cls, kind)
        bases = mro(cls)
        if any(_hashable(base) in _NEVER for base in bases):
            return TypeInfo(cls, Kind.LEAF)
        if any(base is type for base in bases):
            return TypeInfo(cls, Kind.CLASS)
        for base in bases:
            builtin = _BUILTIN.get(_hashable(base))
            if builtin is not None:
                exact = base is cls
                if exact:
                    return TypeInfo(cls, builtin)
                return TypeInfo(cls, builtin, False, _dict_getter(cls), _slots(cls))
            if qualname(base) == "ndarray" and module_of(base) == "numpy":
                return TypeInfo(cls, Kind.BUFFER, base is cls, tender=True)
        return self._classify_instance(cls, bases)

    def _classify_instance(self, cls: type, bases: tuple[type, ...]) -> TypeInfo:
        ours = self._is_watched(module_of(cls))
        for base in bases:
            only = self._surfaces.get(f"{module_of(base)}.{qualname(base)}")
            if only is not None and not ours:
                return TypeInfo(cls, Kind.INSTANCE, dict_of=_dict_getter(cls), slots=_slots(cls), only=only)
        if ours or any(
            f"{module_of(base)}.{qualname(base)}" in _STDLIB_INSTANCES
            or any(mark in namespace(base) for mark in _MODEL_MARKS)
            for base in bases
        ):
            return TypeInfo(cls, Kind.INSTANCE, dict_of=_dict_getter(cls), slots=_slots(cls))
        return TypeInfo(cls, Kind.LEAF)

    def expanded(self, cls: type) -> TypeInfo:
        """How to walk an instance of a foreign class that is a root by itself: the app, a middleware."""
        info = self.info(cls)
        if info.kind is Kind.LEAF:
            return TypeInfo(cls, Kind.INSTANCE, dict_of=_dict_getter(cls), slots=_slots(cls))
        return info


class _NoType:
    """Stands for a class whose metaclass defines its own hash: no table may be asked for it."""


def _hashable(cls: type) -> type:
    """The class itself where hashing it is safe, else a class that is in no table."""
    meta = type(cls)
    if meta is type or meta.__hash__ is type.__hash__:
        return cls
    return _NoType
