"""The tool that everybody writes first: compare a deep copy of the state before and after each request."""

from __future__ import annotations

import contextvars
import functools
import os
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Frozen = Any
"""A nested tuple that is equal for states of equal content."""

_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


class Freezer:
    """Turns the state of some modules into values that can be compared.

    It walks what such tools walk: containers, attributes of instances of the application's own classes and
    of those classes, defaults and attributes of its functions, defaults of its context variables.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        self._names = tuple(modules)

    def _owns(self, module: object) -> bool:
        return isinstance(module, str) and any(
            module == name or module.startswith(name + ".") for name in self._names
        )

    def state(self) -> dict[str, Frozen]:
        """Every global of the modules, by dotted name."""
        found: dict[str, Frozen] = {}
        for name in sorted(sys.modules):
            if self._owns(name):
                for key, value in list(vars(sys.modules[name]).items()):
                    if not key.startswith("__"):
                        found[f"{name}.{key}"] = self.freeze(value)
        return found

    def freeze(self, value: Any, seen: tuple[int, ...] = ()) -> Frozen:
        """The content of one value, cycles cut. Raises ``RuntimeError`` when it changes meanwhile."""
        try:
            return self._content(value, seen)
        except RuntimeError as error:
            if "during iteration" in str(error):
                raise
            return (type(value).__name__, id(value))  # a proxy that stands for nothing just now

    def _content(self, value: Any, seen: tuple[int, ...]) -> Frozen:
        if isinstance(value, _ATOMS):
            return (type(value).__name__, value)
        if id(value) in seen:
            return ("seen", len(seen) - seen.index(id(value)))
        inner = (*seen, id(value))

        def each(values: Iterable[Any]) -> tuple[Frozen, ...]:
            return tuple(self.freeze(part, inner) for part in values)

        def pairs(mapping: Mapping[Any, Any]) -> tuple[Frozen, ...]:
            return tuple(
                (self.freeze(key, inner), self.freeze(part, inner)) for key, part in list(mapping.items())
            )

        name = type(value).__name__
        if isinstance(value, dict):
            return (name, pairs(value))
        if isinstance(value, (list, tuple, deque)):
            return (name, each(list(value)), self._attributes(value, inner))
        if isinstance(value, (set, frozenset)):
            return (name, tuple(sorted(map(repr, each(list(value))))))
        if isinstance(value, bytearray):
            return (name, bytes(value))
        if isinstance(value, contextvars.ContextVar):
            try:
                default = contextvars.Context().run(value.get)  # nobody has set it there
            except LookupError:
                return (name,)
            return (name, self.freeze(default, inner))
        if isinstance(value, types.FunctionType):
            if not self._owns(value.__module__):
                return (name, id(value))
            cells = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
            parts = each([*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *cells])
            return (name, parts, pairs(vars(value)))
        if isinstance(value, type):
            if not self._owns(value.__module__):
                return (name, id(value))
            own = {
                key: part
                for key, part in list(vars(value).items())
                if not key.startswith("__") or isinstance(part, types.FunctionType)
            }
            return (name, pairs(own))
        if isinstance(value, functools._lru_cache_wrapper):
            return (name, value.cache_info().currsize)
        if self._owns(type(value).__module__):
            return (name, self._attributes(value, inner))
        for surface in ("state", "config"):  # what web frameworks offer for keeping things on the application
            if surface in getattr(value, "__dict__", ()):
                return (
                    name,
                    self._attributes(getattr(value, surface), inner),
                    pairs_of(getattr(value, surface)),
                )
        return (name, id(value))

    def _attributes(self, value: Any, seen: tuple[int, ...]) -> Frozen:
        own = getattr(value, "__dict__", None)
        found = dict(own) if isinstance(own, dict) else {}
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                    found[slot] = getattr(value, slot)
        return tuple((key, self.freeze(part, seen)) for key, part in found.items())


def pairs_of(value: Any) -> Frozen:
    """The items of a mapping of plain values, else nothing."""
    return tuple((key, repr(part)) for key, part in list(value.items())) if isinstance(value, dict) else ()


def changed(before: Mapping[str, Frozen], after: Mapping[str, Frozen]) -> set[str]:
    """The names whose content differs."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


class BeforeAfter:
    """Accuses a request of every name that differs between its beginning and its end."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._freezer = Freezer(modules)
        self._lock = threading.Lock()
        self.accused: dict[str, set[str]] = {}

    def _state(self) -> dict[str, Frozen]:
        for _ in range(1000):
            try:
                return {**self._freezer.state(), "os.environ": dict(os.environ)}
            except RuntimeError:  # another thread changed something while it was being read
                continue
        raise RuntimeError("the state never stood still")

    def _compare(self, request_id: str, before: Mapping[str, Frozen]) -> None:
        names = changed(before, self._state())
        if names:
            with self._lock:
                self.accused.setdefault(request_id, set()).update(names)

    def asgi(self, app: Any) -> Any:
        """Wrap an ASGI application."""

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            before = self._state()
            try:
                await app(scope, receive, send)
            finally:
                self._compare(dict(scope["headers"])[b"x-request-id"].decode(), before)

        return watched

    def wsgi(self, app: Any) -> Callable[..., Iterable[bytes]]:
        """Wrap a WSGI application; the body is read inside, as such tools do."""

        def watched(environ: Any, start_response: Any) -> Iterable[bytes]:
            before = self._state()
            try:
                body = app(environ, start_response)
                try:
                    return list(body)
                finally:
                    if hasattr(body, "close"):
                        body.close()
            finally:
                self._compare(environ["HTTP_X_REQUEST_ID"], before)

        return watched
