"""Whether a default can be made in the function's body instead, and still be the same value.

``def f(items=[])`` can. ``def f(items=[x])`` reads ``x`` when the function is defined: in the body the name
may mean a parameter, be gone with its class, or have another value by then.
"""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

_BUILTINS = frozenset(dir(builtins))


def repair_of_default(node: ast.AST, name: str, default: ast.expr, scope: str, own: Container[str]) -> str:
    """What the repair of ``name=default`` in the function ``node`` is: safe, unsafe or (empty) none.

    ``scope`` is the kind of the scope around the function, ``own`` what that scope itself has bound so far.
    """
    if isinstance(node, ast.Lambda) or _asks_for_none(node, name):
        return ""
    read: set[str] = set()
    bound: set[str] = set()
    for each in ast.walk(default):
        if isinstance(each, ast.Name):
            (read if isinstance(each.ctx, ast.Load) else bound).add(each.id)
        elif isinstance(each, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr | ast.Lambda):
            return ""
    read -= bound
    if read & _bound_in(node) or (scope == "class" and any(one in own for one in read)):
        return ""
    return "safe" if read <= _BUILTINS else "unsafe"


def _bound_in(node: ast.AST) -> set[str]:
    """The parameters and local names of a function, and of what is defined in it."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.arg):
            found.add(each.arg)
        elif isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load):
            found.add(each.id)
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and each is not node:
            found.add(each.name)
        elif isinstance(each, ast.alias):
            found.add((each.asname or each.name).partition(".")[0])
        elif isinstance(each, ast.ExceptHandler) and each.name:
            found.add(each.name)
    return found


def _asks_for_none(node: ast.AST, name: str) -> bool:
    """Whether the function tells ``None`` from other values: then it must not be given a list for it."""
    return any(
        isinstance(each, ast.Compare)
        and isinstance(each.left, ast.Name)
        and each.left.id == name
        and isinstance(each.ops[0], ast.Is | ast.IsNot)
        for each in ast.walk(node)
    )
