"""``scoped(list)``: a stand-in for a module global that is another object in each request.

The proxy's class is made for the kind of value: it has exactly the special methods that kind has, so
``callable``, ``hash``, ``match`` and the abstract base classes answer as they would for the value. werkzeug's
``LocalProxy``, which has every method for any value, was measured against it: see ``benchmarks/scoped.py``.
"""

from __future__ import annotations

import collections.abc
import copyreg
import math
import operator
import sys
import types
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from stateguard.errors import ConfigError, NoActiveScope
from stateguard.request_var import RequestVar, find_name
from stateguard.scope import current_scope

P = ParamSpec("P")
T = TypeVar("T")


def scoped(make: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """A module global that each request has its own fresh value of: ``HISTORY = scoped(list)``.

    Each request's value is made by ``make(*args, **kwargs)`` at its first use; it goes when the request ends.
    The result behaves as the value does: indexing, iteration, ``len``, ``in``, operators, attributes,
    ``isinstance``, ``copy``, pickling (as the value), formatting, unpacking, pattern matching. C code that
    demands an exact ``list`` or ``dict``, ``json.dumps`` for one, needs :func:`unscoped`: its error says so.

    Content that must be there from the start goes into ``make`` (``scoped(lambda: [SYSTEM_PROMPT])``). A
    function that rebinds the name (``global HISTORY; HISTORY = []``) throws the proxy away: clear the value
    (``HISTORY.clear()``), or use :class:`RequestVar` and ``.set()``.

    Outside a request every use raises :class:`NoActiveScope`, except ``repr``, ``isinstance``, ``hasattr``.
    Raises :class:`ConfigError` when ``make`` is not callable.
    """
    if not callable(make):
        raise ConfigError(
            f"scoped({type(make).__name__}): give it what makes the value, not the value: "
            "scoped(list), scoped(MyState), scoped(lambda: [first])"
        )
    create: Callable[[], T] = (
        (lambda: make(*args, **kwargs)) if args or kwargs else cast("Callable[[], T]", make)
    )
    kind = getattr(make, "__origin__", make)  # scoped(list[str])
    proxy_class = _class_for(kind if isinstance(kind, type) else None)
    proxy: Any = object.__new__(proxy_class)
    module = sys._getframe(1).f_globals.get("__name__", "")
    variable: RequestVar[T] = RequestVar(create, name=" ")
    for name, value in (("var", variable), ("module", module), ("seen", None)):
        object.__setattr__(proxy, f"_scoped_{name}", value)
    return cast("T", proxy)


def unscoped(value: T) -> T:
    """The real object that a scoped global stands for in this request; any other value is returned as it is.

    ``json.dumps(unscoped(HISTORY))``. Raises :class:`NoActiveScope` outside a request.
    """
    return cast("T", _value(value)) if isinstance(type(value), _ProxyMeta) else value


def json_default(value: object) -> Any:
    """For ``json.dumps(..., default=json_default)``: lets scoped globals appear anywhere in the data."""
    if isinstance(type(value), _ProxyMeta):
        return _value(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _Unbound(NoActiveScope, AttributeError):
    """An attribute was asked for outside a request.

    Also an ``AttributeError``, so that ``hasattr`` and ``getattr`` with a default, which test runners and
    documentation tools call on every global, get an answer in place of a failure.
    """


class _ProxyMeta(type):
    """Marks proxy classes: ``isinstance(proxy, ...)`` can not, because a proxy claims to be its value."""


class _Proxy(metaclass=_ProxyMeta):
    __slots__ = ("__weakref__", "_scoped_module", "_scoped_seen", "_scoped_var")

    _scoped_var: RequestVar[Any]
    _scoped_module: str
    _scoped_seen: Any
    _scoped_kind: type | None = None

    @property  # type: ignore[misc]  # mypy knows no computed __class__
    def __class__(self) -> type:
        scope = current_scope()
        kind = self._scoped_kind if scope is None else type(_value(self))
        if kind is None:
            return type(self)
        return _exact_kind(self, kind) if _is_exact(kind) else kind

    def __getattr__(self, name: str) -> Any:
        try:
            value = _value(self)
        except NoActiveScope as error:
            raise _Unbound(str(error)) from None
        return getattr(value, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_value(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_value(self), name)

    def __dir__(self) -> list[str]:
        return dir(_value(self)) if current_scope() is not None else dir(self._scoped_kind or object)

    def __repr__(self) -> str:
        if current_scope() is None:
            return f"<{_name(self)}: {_title(self._scoped_kind)} per request, and none is being served here>"
        return repr(_value(self))

    def __str__(self) -> str:
        return str(_value(self))

    def __format__(self, spec: str) -> str:
        return format(_value(self), spec)

    def __sizeof__(self) -> int:
        return sys.getsizeof(_value(self))

    def __copy__(self) -> Any:
        import copy

        return copy.copy(_value(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        import copy

        return copy.deepcopy(_value(self), memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = _value(self).__reduce_ex__(protocol)
        if isinstance(reduced, tuple) and reduced[0] is getattr(copyreg, "__newobj__", None):
            # pickle checks that the class named here is the object's own, which a proxy's is not.
            made = reduced[1]
            return (made[0].__new__, made, *reduced[2:])
        return reduced


def _value(proxy: Any) -> Any:
    scope = current_scope()
    if scope is not None:
        try:
            return scope.values[proxy._scoped_var]
        except KeyError:
            pass
    variable = proxy._scoped_var
    if variable._name == " ":
        variable._name = _name(proxy)
    value = variable.get()
    if proxy._scoped_kind is None:
        # The first value of a function tells what the proxy stands for: from now on it is just that.
        object.__dict__["__class__"].__set__(proxy, _class_for(type(value)))
    return value


def _name(proxy: Any) -> str:
    return find_name(proxy, proxy._scoped_module) or f"scoped({_title(proxy._scoped_kind, '...')})"


def _title(kind: type | None, unknown: str = "a value") -> str:
    return unknown if kind is None else kind.__name__


_EXACT = (list, dict, tuple, str, int, float)
"""The types that C code demands exactly. For these, and the standard library's subclasses of them,
``__class__`` is a subclass whose name tells what to write: ``json`` and others print it when they refuse."""


def _is_exact(kind: type) -> bool:
    return kind is not bool and kind.__module__ in {"builtins", "collections"} and issubclass(kind, _EXACT)


def _exact_kind(proxy: Any, kind: type) -> type:
    seen = proxy._scoped_seen
    if seen is not None and seen.__base__ is kind:
        return cast("type", seen)
    full = _name(proxy)
    short = full.rpartition(".")[2] if "(" not in full else "..."
    title = kind.__name__
    hint = f"scoped {title} (write stateguard.unscoped({short}) where an exact {title} is needed)"
    named = type(hint, (kind,), {"__new__": lambda cls, *args: kind(*args), "__module__": "stateguard"})
    object.__setattr__(proxy, "_scoped_seen", named)
    return named


_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift")
_BITWISE = ("and", "xor", "or")
_COMPARE = ("lt", "le", "eq", "ne", "gt", "ge")
_OPERATOR = (*_COMPARE, "neg", "pos", "invert", "abs", "index", "getitem", "setitem", "delitem", "contains")
_BUILTIN: dict[str, Callable[..., Any]] = {
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__reversed__": reversed,
    "__hash__": hash,
    "__bool__": bool,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__bytes__": bytes,
    "__round__": round,
    "__divmod__": divmod,
    "__trunc__": math.trunc,
    "__floor__": math.floor,
    "__ceil__": math.ceil,
    "__length_hint__": operator.length_hint,
    "__aiter__": aiter,
    "__anext__": anext,
    "__call__": lambda value, *args, **kwargs: value(*args, **kwargs),
}
_BY_NAME = ("enter", "exit", "aenter", "aexit", "await", "fspath", "buffer", "release_buffer")
_TEXT = (str, bytes, bytearray, memoryview)
_SHARED = ("__dataclass_fields__", "__dataclass_params__", "__attrs_attrs__", "__match_args__")
"""Class attributes that libraries look for on ``type(value)``: data about the class, the same for a proxy."""

_classes: dict[type | None, type] = {}


def _class_for(kind: type | None) -> type:
    found = _classes.get(kind)
    if found is None:
        found = _classes[kind] = _make_class(kind)
    return found


def _make_class(kind: type | None) -> type:
    """A proxy class with the special methods of ``kind``, or with all of them when the kind is not known."""

    def has(name: str) -> bool:
        if kind is None:
            return True
        # Not getattr: it would find the metaclass's methods too, by which every class is callable.
        return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None) is not None

    body: dict[str, Any] = {"__slots__": (), "_scoped_kind": kind, "__hash__": None}
    for name in _OPERATOR:
        if has(f"__{name}__"):
            body[f"__{name}__"] = _forward(getattr(operator, f"__{name}__"))
    for name, function in _BUILTIN.items():
        if has(name):
            body[name] = _forward(function)
    if kind is None or "__bool__" in body or "__len__" in body:
        body["__bool__"] = _forward(bool)
    for name in _BY_NAME:
        if has(f"__{name}__"):
            body[f"__{name}__"] = _forward_name(f"__{name}__")
    for name in (*_BINARY, *_BITWISE):
        if has(f"__{name}__"):
            work = pow if name == "pow" else getattr(operator, f"__{name}__")
            body[f"__{name}__"] = _forward(work)
            body[f"__r{name}__"] = _forward_reflected(work)
            body[f"__i{name}__"] = _forward_in_place(getattr(operator, f"__i{name}__"))
    if has("__divmod__"):
        body["__rdivmod__"] = _forward_reflected(divmod)
    for name in _SHARED:
        if kind is not None and hasattr(kind, name):
            body[name] = getattr(kind, name)
    title = f"scoped {_title(kind, 'value')}"
    if kind is None or _is_exact(kind):
        # What C code prints when it refuses: "heapify() argument must be list, not ...".
        exact = "the value itself" if kind is None else f"an exact {kind.__name__}"
        title += f" (write stateguard.unscoped(...) where {exact} is needed)"
    made: Any = _ProxyMeta(title, (_Proxy,), body)
    # Registration is what lets `case [a, *rest]` and `case {"key": value}` match.
    if kind is not None and issubclass(kind, collections.abc.Mapping):
        collections.abc.Mapping.register(made)
    elif kind is not None and issubclass(kind, collections.abc.Sequence) and not issubclass(kind, _TEXT):
        collections.abc.Sequence.register(made)
    return cast("type", made)


def _forward(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(_value(self), *args, **kwargs)

    return method


def _forward_reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        return function(other, _value(self))

    return method


def _forward_in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        self._scoped_var.set(function(_value(self), other))
        return self  # the name that the statement rebinds keeps the proxy

    return method


def _forward_name(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        value = _value(self)
        return types.MethodType(getattr(type(value), name), value)(*args)

    return method
