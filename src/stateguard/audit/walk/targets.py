"""Targets of assignments, loops and comprehensions: what a name, an attribute or an item is given."""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.facts import Binding, Refs
from stateguard.audit.walk.calls import key_text
from stateguard.audit.walk.holders import is_holder, member
from stateguard.audit.walk.names import ANNOTATION_KINDS, container_kind
from stateguard.audit.walk.table import evaluate
from stateguard.audit.walk.walker import UNKNOWN, Placed, Walker, item, normal


def assign(w: Walker, target: Any, refs: Refs, taint: Refs, node: Placed | None = None) -> None:
    """Bind a target: a local, a global, an attribute, an item, or several of these."""
    kind = target.__class__
    if kind is ast.Name:
        _assign_name(w, target, refs, taint, node or target)
    elif kind is ast.Attribute:
        base = evaluate(w, target.value)
        _note_own_attribute(w, base, target.attr, refs, target.lineno)
        flags = _arithmetic_flag(refs, tuple(f"{r}.{target.attr}" for r in base))
        w.write("attr", base, node or target, key=target.attr, value=refs, taint=taint, flags=flags)
    elif kind is ast.Subscript:
        base = evaluate(w, target.value)
        mark = len(w.reads)
        evaluate(w, target.slice)
        flags = _arithmetic_flag(refs, item(base))
        if len(w.reads) > mark:
            flags += "k"
        key = key_text(target.slice)
        w.write("item", base, node or target, key=key, value=refs, taint=taint, flags=flags)
    elif kind is ast.Tuple or kind is ast.List:
        parts = _parts(w, target, refs, node)
        for one, part in zip(target.elts, parts, strict=True):
            assign(w, one, part, taint, node if one.__class__ not in (ast.Tuple, ast.List) else None)
    elif kind is ast.Starred:
        assign(w, target.value, UNKNOWN, taint, node)


def _parts(w: Walker, target: Any, refs: Refs, node: Any) -> list[Refs]:
    """What each target of ``a, b = ...`` is given."""
    count = len(target.elts)
    if refs and refs[0][-1] == "#":
        pair = tuple(r[:-1] for r in refs if r[-1] == "#")
        return [pair if index == 1 else UNKNOWN for index in range(count)]
    value = getattr(node, "value", None)
    pairs = value.elts if isinstance(value, (ast.Tuple, ast.List)) else ()
    starred = any(one.__class__ is ast.Starred for one in (*target.elts, *pairs))
    if len(pairs) == count and not starred:
        held = any(is_holder(r) for r in refs)
        return [
            (member(w, refs, str(index)) if held else ()) or _part(w, one) for index, one in enumerate(pairs)
        ]
    if starred or pairs:
        return [UNKNOWN] * count
    return [item(refs, "![]")] * count


def _part(w: Walker, node: ast.AST) -> Refs:
    # ``a, b = X, Y``: the right side has been evaluated; a plain name can be looked at again.
    if isinstance(node, ast.Name):
        return w.name(node.id)
    if isinstance(node, ast.Constant):
        return ("k:none",) if node.value is None else ("k:other",)
    return UNKNOWN


def _assign_name(w: Walker, target: Any, refs: Refs, taint: Refs, node: Any) -> None:
    name = target.id
    if refs and refs[0][-1] == "#":
        refs = UNKNOWN
    if name in w.global_names:
        flags = _arithmetic_flag(refs, ("g:" + name,))
        w.write("bind", ("g:" + name,), node, value=refs, taint=taint, flags=flags)
    elif name in w.nonlocal_names:
        ref = (w.nonlocal_names[name],)
        w.write("bind", ref, node, value=refs, taint=taint, flags=_arithmetic_flag(refs, ref))
    elif w.kind == "function":
        w.bind(name, refs, taint, target.lineno)
    elif w.kind == "module":
        bind_module(w, name, target, refs, "", _alone(node, target))
    else:
        w.env[name] = refs
        bind_class(w, name, target, refs, "", _alone(node, target))


def bind_module(w: Walker, name: str, target: Any, refs: Refs, annotation: str, alone: bool) -> None:
    """Note one binding of a name of the module; ``alone`` says that the statement binds nothing else."""
    elements = tuple(dict.fromkeys(w.elements or ()))[:16]
    kind = container_kind(refs) or (ANNOTATION_KINDS.get(annotation, "") if refs != ("k:none",) else "")
    binding = Binding(target.lineno, target.col_offset, refs, elements, kind, annotation, alone)
    w.module.bindings.setdefault(name, []).append(binding)


def bind_class(w: Walker, name: str, target: Any, refs: Refs, annotation: str, alone: bool) -> None:
    """Note one binding of a class body."""
    if w.class_facts is not None:
        elements = tuple(dict.fromkeys(w.elements or ()))[:16]
        kind = container_kind(refs)
        binding = Binding(target.lineno, target.col_offset, refs, elements, kind, annotation, alone)
        w.class_facts.attrs.setdefault(name, []).append(binding)


def _note_own_attribute(w: Walker, base: Refs, name: str, refs: Refs, line: int) -> None:
    params = w.fn.params
    if w.fn.owner and params and base == ("p:" + params[0],):
        owner = w.module.classes.get(w.fn.owner)
        if owner is not None:
            rows = owner.assigned.setdefault(name, [])
            if len(rows) < 8:
                rows.extend((w.fn.qual, ref, line) for ref in refs)


def _arithmetic_flag(refs: Refs, targets: Refs) -> str:
    """``c`` for ``X = X + 1``, a counter; ``o`` for ``X = X or make()``, created when missing."""
    for ref in refs:
        if ref[-1] == "+":
            if normal(ref[:-1]) in targets:
                return "c"
        elif len(refs) > 1 and normal(ref) in targets:
            return "o"
    return ""


def _alone(node: Any, target: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and node.targets == [target]
