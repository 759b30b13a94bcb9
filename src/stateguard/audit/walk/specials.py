"""Builtin functions that stand for syntax: ``setattr``, ``getattr``, ``vars``, ``type``, copies."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.names import SHALLOW_COPIES
from stateguard.audit.walk.table import BOOL, NONE, OPERATION
from stateguard.audit.walk.walker import Walker, attribute, item, join, shallow


def _setattr(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    if len(args) == 3:
        key = node.args[1]
        name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "*"
        w.write("attr", args[0], node, how="setattr", key=name, value=args[2], taint=w.taint_since(mark))
    return None


def _delattr(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    if len(args) == 2:
        key = node.args[1]
        name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else "*"
        w.write("delattr", args[0], node, how="delattr", key=name)
    return None


def _getattr(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    if len(args) >= 2:
        key = node.args[1]
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found = attribute(args[0], key.value)
            return join(found, args[2]) if len(args) == 3 and args[2] not in (NONE, BOOL) else found
        return attribute(args[0], "*")
    return None


def _vars(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    return attribute(args[0], "__dict__") if args else None


def _type(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    return attribute(args[0], "__class__") if len(args) == 1 else None


def _super(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    return ("p:" + w.fn.params[0] + ".__super__",) if w.fn.params else None


def _copying(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    if len(args) != 1:
        return None
    kind = node.func.id
    if kind in ("tuple", "frozenset") and args[0][0][0] in "nk?":
        return OPERATION
    copied = shallow(args[0])
    made: Refs = (
        ("n:list",) if kind == "sorted" else ("n:" + kind,) if kind in ("list", "dict", "set") else ()
    )
    return join(copied, made) if copied != ("n:list",) else made or copied


def _same(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    return args[-1] if args and args[-1][0][0] not in "nk?" else None


def _next(w: Walker, node: Any, args: tuple[Refs, ...], mark: int) -> Refs | None:
    return item(args[0]) if args else None


SPECIAL: dict[str, Callable[[Walker, Any, tuple[Refs, ...], int], Refs | None]] = {
    "setattr": _setattr,
    "delattr": _delattr,
    "getattr": _getattr,
    "vars": _vars,
    "type": _type,
    "super": _super,
    "next": _next,
    "memoryview": _same,
    "cast": _same,
    **dict.fromkeys(SHALLOW_COPIES, _copying),
}
