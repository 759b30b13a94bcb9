"""The strings that a program's own code spells out: keys such as ``"user"``, names of roles, of settings.

What a request brings may happen to be one of them (``{"role": "user"}``), and then proves nothing.
"""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def _is_test(module: object) -> bool:
    """Whether a module holds tests: what they send as a user's data is spelled out in them."""
    last = module.rpartition(".")[2] if type(module) is str else ""
    return last == "conftest" or last.startswith("test_") or last.endswith("_test")


def string_constants(functions: Iterable[FunctionType]) -> frozenset[str]:
    """Every string constant in the code of these functions and of what is defined inside them."""
    found: set[str] = set()
    seen: set[int] = set()
    todo: list[Any] = [function.__code__ for function in functions if not _is_test(function.__module__)]
    while todo:
        value = todo.pop()
        if type(value) is str:
            found.add(value)
        elif type(value) is tuple or type(value) is frozenset:
            todo.extend(value)
        elif type(value) is CodeType and id(value) not in seen:
            seen.add(id(value))
            todo.extend(value.co_consts)
    return frozenset(found)
