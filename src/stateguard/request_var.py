"""A variable that each request has its own value of, in its explicit form."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, TypeVar, overload

from stateguard.scope import current_scope, require_scope

T = TypeVar("T")
D = TypeVar("D")


class _Missing:
    def __repr__(self) -> str:
        return "<no value>"


_MISSING = _Missing()


class RequestVar(Generic[T]):
    """One variable, one value per request: ``USER = RequestVar[str]()``, ``USER.set("ada")``, ``USER.get()``.

    ``make`` is called without arguments at a request's first ``get()`` when nothing was set before:
    ``HISTORY = RequestVar(list)``. All code of one request sees the same value, including its tasks and the
    threads of ``asyncio.to_thread``; unlike a ``ContextVar``, what a task sets its parent sees too. The value
    goes when the request ends.

    Make it once, at module level. ``name`` appears in error messages; by default it is found in the module.
    """

    __slots__ = ("_make", "_module", "_name")

    def __init__(self, make: Callable[[], T] | None = None, *, name: str = "") -> None:
        self._make = make
        self._name = name
        self._module = "" if name else _defining_module()

    def __repr__(self) -> str:
        return f"<RequestVar {self.name}>"

    @property
    def name(self) -> str:
        """The variable's full name (``myapp.chat.USER``), as far as it is known."""
        if not self._name and self._module:
            self._name = find_name(self, self._module)
        return self._name or "a RequestVar"

    @overload
    def get(self) -> T: ...
    @overload
    def get(self, default: D) -> T | D: ...
    def get(self, default: D | _Missing = _MISSING) -> T | D:
        """This request's value.

        Raises :class:`NoActiveScope` outside a request, and ``LookupError`` when this request has set none,
        the variable has no ``make`` and no ``default`` is given.
        """
        scope = current_scope()
        if scope is None:
            scope = require_scope(f"{self.name}.get()")
        try:
            value: T = scope.values[self]
        except KeyError:
            if self._make is not None:
                return scope.value(self, self._make)
            if isinstance(default, _Missing):
                raise LookupError(
                    f"{self.name}.get(): this request has set no value. Call {self.name}.set(value) first, "
                    "pass get(default), or give RequestVar a function that makes the first value"
                ) from None
            return default
        return value

    def set(self, value: T) -> None:
        """Give this request's value; raises :class:`NoActiveScope` outside a request."""
        require_scope(f"{self.name}.set()").values[self] = value

    def delete(self) -> None:
        """Forget this request's value, if it has one."""
        require_scope(f"{self.name}.delete()").values.pop(self, None)

    def is_set(self) -> bool:
        """Whether a request is being served here and has a value; makes none."""
        scope = current_scope()
        return scope is not None and self in scope.values


def _defining_module() -> str:
    # RequestVar[str]() is called from within typing, RequestVar() from the module itself.
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") == "typing":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def find_name(target: object, module: str) -> str:
    """The full name of the global of ``module`` that is ``target``, or ``""``: for messages only."""
    namespace = getattr(sys.modules.get(module), "__dict__", {})
    for name, value in list(namespace.items()):
        if value is target:
            return f"{module}.{name}"
    return ""
