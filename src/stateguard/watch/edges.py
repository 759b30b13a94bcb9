"""Which of the objects that a node refers to are part of the watched state."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from stateguard.watch.compare import types_of
from stateguard.watch.content import Content, cache_table, maker
from stateguard.watch.kinds import Kind, TypeInfo, TypeTable, module_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Anchor:
    """Where a path begins. ``namespace``: what hangs below is written ``.name``, not ``['name']``."""

    __slots__ = ("label", "namespace")

    def __init__(self, label: str, namespace: bool = False) -> None:
        self.label = label
        self.namespace = namespace


def is_dunder(name: object) -> bool:
    """Whether a name is the interpreter's own business: ``__doc__``, ``__annotations__`` and so on."""
    return (
        type(name) is str
        and len(name) > 4
        and name.startswith("__")
        and name.endswith("__")
        and name not in HIDDEN
    )


HIDDEN = frozenset({"__pydantic_private__", "__pydantic_extra__"})
"""Where pydantic models keep attributes that are no fields."""


_FOREIGN_FUNCTION = TypeInfo(types.FunctionType, Kind.THROUGH)


class Edges:
    """Follows references for one watch."""

    def __init__(self, table: TypeTable) -> None:
        self.table = table

    def of(self, obj: Any, info: TypeInfo, content: Content, parent: Any) -> Iterator[tuple[Any, TypeInfo]]:
        """The objects that a node leads to and that are to be watched."""
        yield from self._contained(obj, info, content, parent, content.values, content.keys)
        if content.own is not None:
            known = self.table.info(type(content.own))
            if info.only is not None:
                known = TypeInfo(known.cls, known.kind, known.exact, only=info.only)
            yield content.own, known
        if content.slots:
            for name, value in content.slots.items():
                if not is_dunder(name) and (info.only is None or name in info.only):
                    found = self.follow(value)
                    if found is not None:
                        yield value, found

    def _contained(
        self,
        obj: Any,
        info: TypeInfo,
        content: Content,
        parent: Any,
        values: list[Any],
        keys: list[Any] | None,
    ) -> Iterator[tuple[Any, TypeInfo]]:
        if info.kind is Kind.CLASS:
            yield values[0], self.table.info(dict)
            return
        if info.kind is Kind.CACHE and type(obj) is not dict:
            table = cache_table(values)
            for value in values:
                known = TypeInfo(dict, Kind.CACHE) if value is table else self.follow(value)
                if known is not None:
                    yield value, known
            return
        if info.kind is Kind.THROUGH and type(obj) is types.FunctionType:
            values = self._through_foreign(obj)
        if self._only_leaves(values) and (keys is None or self._only_leaves(keys)):
            return
        module = type(parent) is Anchor and parent.namespace
        if keys is None:
            for value in values:
                known = self.follow(value)
                if known is not None and known.kind is not Kind.GENERATOR:
                    yield value, known
            return
        for key, value in zip(keys, values, strict=False):
            if type(key) is not str:
                known = self.follow(key)
                if known is not None:
                    yield key, known
            elif info.only is not None and key not in info.only:
                continue
            known = self.follow(value)
            if known is None:
                continue
            if known.kind is Kind.GENERATOR and not (module or self._has_names(parent)):
                continue
            if is_dunder(key) and (module or known.kind not in (Kind.FUNCTION, Kind.THROUGH)):
                continue
            yield value, known

    def _has_names(self, owner: Any) -> bool:
        """Whether the keys of what hangs below ``owner`` are the names of attributes."""
        return self.table.info(type(owner)).kind in (Kind.CLASS, Kind.INSTANCE)

    def _only_leaves(self, values: list[Any]) -> bool:
        return all(self.table.info(cls).kind is Kind.LEAF for cls in types_of(values))

    def follow(self, value: Any) -> TypeInfo | None:
        """How to walk a value that a node refers to, or ``None`` for a leaf or a boundary."""
        known = self.table.info(type(value))
        kind = known.kind
        if kind is Kind.LEAF:
            return None
        if kind is Kind.CLASS:
            return known if self.table.watches(module_of(value)) else None
        if kind is Kind.FUNCTION and not self.table.watches(value.__module__):
            # Somebody's wrapper: of interest only for the application function inside it.
            return _FOREIGN_FUNCTION if value.__closure__ else None
        if kind is Kind.GENERATOR:
            function = maker(value)
            return known if function is not None and self.table.watches(function.__module__) else None
        if kind in (Kind.TUPLE, Kind.FROZENSET) and known.exact:
            cls = tuple if kind is Kind.TUPLE else frozenset
            if self._only_leaves(list(cls.__iter__(value))):
                return None
        return known

    def _through_foreign(self, function: types.FunctionType) -> list[Any]:
        inner = []
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if type(value) is types.FunctionType or type(value) is types.MethodType:
                inner.append(value)
        return inner
