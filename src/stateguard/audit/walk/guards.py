"""Conditions that ask whether something is there already: ``if X is None``, ``if key not in X``."""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.walk.walker import Walker, normal

Guards = tuple[list[str], list[str]]
"""What is missing when the condition holds, and what is missing when it does not."""


def missing(w: Walker, test: ast.AST) -> Guards:
    """Which references a condition shows to be missing or empty. ``X[]`` stands for a member of ``X``."""
    kind = test.__class__
    if kind is ast.Compare:
        return _compare(w, test)
    if kind is ast.UnaryOp and isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        when_true, when_false = missing(w, test.operand)
        return when_false, when_true
    if isinstance(test, ast.BoolOp):
        pairs = [missing(w, one) for one in test.values]
        return [r for pair in pairs for r in pair[0]], [r for pair in pairs for r in pair[1]]
    if isinstance(test, ast.NamedExpr):
        return [], peek(w, test.target)
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "hasattr":
        return [], _has_attribute(w, test)
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance":
        return [], peek(w, test.args[0]) if test.args else []
    if isinstance(test, (ast.Name, ast.Attribute, ast.Subscript, ast.Call)):
        return [], peek(w, test)
    return [], []


def _compare(w: Walker, test: Any) -> Guards:
    if len(test.ops) != 1:
        return [], []
    op, right = test.ops[0].__class__, test.comparators[0]
    left = test.left.target if isinstance(test.left, ast.NamedExpr) else test.left
    if op is ast.NotIn:
        return [r + "[]" for r in peek(w, right)], []
    if op is ast.In:
        return [], [r + "[]" for r in peek(w, right)]
    if op in (ast.Lt, ast.LtE, ast.Gt, ast.GtE) or (op is ast.NotEq and not isinstance(right, ast.Constant)):
        # ``if now > expires: expires = ...``: refreshed when it is out of date.
        return [*peek(w, left), *peek(w, right)], []
    if op in (ast.Is, ast.Eq, ast.IsNot, ast.NotEq):
        # Compared with None, or with a sentinel that stands for "not there yet".
        if not (
            (isinstance(right, ast.Constant) and right.value in (None, False, 0, ""))
            or (op in (ast.Is, ast.IsNot) and isinstance(right, (ast.Name, ast.Attribute)))
        ):
            return [], []
        refs = peek(w, left)
        return (refs, []) if op in (ast.Is, ast.Eq) else ([], refs)
    return [], []


def _has_attribute(w: Walker, call: ast.Call) -> list[str]:
    if len(call.args) < 2:
        return []
    key = call.args[1]
    name = str(key.value) if isinstance(key, ast.Constant) else "*"
    return [f"{r}.{name}" for r in peek(w, call.args[0])]


def peek(w: Walker, node: ast.AST) -> list[str]:
    """What a simple expression refers to, without recording anything."""
    if isinstance(node, ast.Name):
        mark = len(w.reads)
        found = [normal(r) for r in w.name(node.id) if r[0] not in "nk?"]
        del w.reads[mark:]
        return found
    if isinstance(node, ast.Attribute):
        if node.attr in ("keys", "values"):
            return peek(w, node.value)
        return [f"{r}.{node.attr}" for r in peek(w, node.value)]
    if isinstance(node, ast.Subscript):
        return [r + "[]" for r in peek(w, node.value)]
    if isinstance(node, ast.Call):
        func = node.func
        if isinstance(func, ast.Attribute) and func.attr in ("get", "pop"):
            return [r + "[]" for r in peek(w, func.value)]
        if isinstance(func, ast.Attribute) and func.attr == "keys":
            return peek(w, func.value)
        if isinstance(func, ast.Name) and func.id in ("getattr", "hasattr"):
            return _has_attribute(w, node)
        if isinstance(func, ast.Name) and func.id == "len" and node.args:
            return peek(w, node.args[0])
    return []
