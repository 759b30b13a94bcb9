"""Which function reads which kind of node.

:mod:`expressions`, :mod:`calls` and :mod:`statements` fill the tables.
"""

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
"""Expressions: each function says what its node refers to."""

STATEMENTS: dict[type, Callable[[Walker, Any], object]] = {}
"""Statements: each function says whether control can not come out at the end of its node."""


def evaluate(w: Walker, node: ast.AST) -> Refs:
    """What ``node`` refers to; its calls and writes are recorded on the way."""
    return TABLE[node.__class__](w, node)


def visit_all(w: Walker, nodes: list[Any]) -> None:
    """Evaluate for the effects only."""
    for node in nodes:
        if node is not None:
            TABLE[node.__class__](w, node)


def read(w: Walker, body: list[Any]) -> bool:
    """Read a block. True when control cannot come out at its end."""
    depth = len(w.guards)
    ended = False
    for node in body:
        handler = STATEMENTS.get(node.__class__)
        if handler is not None:
            ended = bool(handler(w, node)) or ended
    del w.guards[depth:]
    return ended
