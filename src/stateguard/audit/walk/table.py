"""Which function reads which kind of expression; :mod:`expressions` and :mod:`calls` fill the table."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.walker import Walker

NUMBER: Refs = ("k:num",)
STRING: Refs = ("k:str",)
NONE: Refs = ("k:none",)
BOOL: Refs = ("k:bool",)
OTHER: Refs = ("k:other",)
OPERATION: Refs = ("n:op",)

CONSTANTS: dict[type, Refs] = {
    str: STRING,
    int: NUMBER,
    float: NUMBER,
    complex: NUMBER,
    bool: BOOL,
    type(None): NONE,
    bytes: OTHER,
}

TABLE: dict[type, Callable[[Walker, Any], Refs]] = {}


def evaluate(w: Walker, node: ast.AST) -> Refs:
    """What ``node`` refers to; its calls and writes are recorded on the way."""
    return TABLE[node.__class__](w, node)


def visit_all(w: Walker, nodes: list[Any]) -> None:
    """Evaluate for the effects only."""
    for node in nodes:
        if node is not None:
            TABLE[node.__class__](w, node)
