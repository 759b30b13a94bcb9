"""``match`` patterns: what the names they capture refer to."""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.table import evaluate
from stateguard.audit.walk.walker import UNKNOWN, Walker, attribute, item


def bind_pattern(w: Walker, pattern: Any, subject: Refs, taint: Refs, line: int) -> None:
    """Bind every name that ``pattern`` captures of ``subject``."""
    kind = pattern.__class__
    if kind is ast.MatchAs:
        if pattern.pattern is not None:
            bind_pattern(w, pattern.pattern, subject, taint, line)
        if pattern.name is not None:
            w.bind(pattern.name, subject, taint, line)
    elif kind is ast.MatchStar:
        if pattern.name is not None:
            w.bind(pattern.name, ("n:list",), taint, line)
    elif kind is ast.MatchSequence:
        for one in pattern.patterns:
            bind_pattern(w, one, item(subject, "![]"), taint, line)
    elif kind is ast.MatchMapping:
        for key, one in zip(pattern.keys, pattern.patterns, strict=True):
            evaluate(w, key)
            bind_pattern(w, one, item(subject, "![]"), taint, line)
        if pattern.rest is not None:
            w.bind(pattern.rest, ("n:dict",), taint, line)
    elif kind is ast.MatchClass:
        evaluate(w, pattern.cls)
        # ``__match_args__`` would name the attribute; ``list(h)`` is the object itself.
        for one in pattern.patterns:
            builtin = isinstance(pattern.cls, ast.Name) and pattern.cls.id in _SELF_MATCHING
            bind_pattern(w, one, subject if builtin else UNKNOWN, taint, line)
        for name, one in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
            bind_pattern(w, one, attribute(subject, name), taint, line)
    elif kind is ast.MatchOr:
        for one in pattern.patterns:
            bind_pattern(w, one, subject, taint, line)
    elif kind is ast.MatchValue:
        evaluate(w, pattern.value)


_SELF_MATCHING = frozenset({"list", "dict", "set", "tuple", "str", "bytes", "int", "float", "bytearray"})
"""Builtin classes whose one positional pattern matches the whole object."""
