"""Calls: what they return, what they change, and which functions they run later or elsewhere."""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.holders import is_holder, traceable, with_member
from stateguard.audit.walk.names import (
    CONTAINER_CALLS,
    FIRST_ARGUMENT_MUTATORS,
    HANDOVERS,
    LATER,
    MUTATORS,
    PASSED_ON,
    RETURNING_HANDOVERS,
)
from stateguard.audit.walk.specials import SPECIAL
from stateguard.audit.walk.table import CONSTANTS, OPERATION, TABLE, evaluate
from stateguard.audit.walk.walker import UNKNOWN, Walker, attribute, join, shallow

_OWNED = "gpfm"


def key_text(node: Any) -> str:
    """A constant key as source (``'name'``, ``0``), ``:`` for a slice, empty for anything computed."""
    if node.__class__ is ast.Constant:
        return repr(node.value)[:60]
    if node.__class__ is ast.Slice:
        return ":"
    if node.__class__ is ast.UnaryOp and node.operand.__class__ is ast.Constant:
        return "-" + repr(node.operand.value)[:60]
    return ""


def _call(w: Walker, node: Any) -> Refs:
    func = node.func
    base: Refs = ()
    method = ""
    if func.__class__ is ast.Attribute:
        base = evaluate(w, func.value)
        method = func.attr
        callee = attribute(tuple(r for r in base if not is_holder(r)), method)
        last = method
    else:
        callee = evaluate(w, func)
        last = func.id if func.__class__ is ast.Name else ""
    mark = len(w.reads)
    args, text = _positional(w, node)
    kwargs, methods, text = _keywords(w, node, text)
    if method:
        if method in MUTATORS:
            _mutation(w, node, base, method, args, mark)
    elif last in SPECIAL:
        special = SPECIAL[last](w, node, args, mark)
        if special is not None:
            return special
    elif last:
        _through_alias(w, node, callee, args, mark)
    if args and last in FIRST_ARGUMENT_MUTATORS:
        key = key_text(node.args[1]) if last in ("setitem", "delitem") and len(node.args) > 1 else ""
        w.write("call", args[0], node, how=last, key=key, value=args[-1], taint=w.taint_since(mark))
    elif method == "copy" and not args:
        return shallow(base)
    elif last in ("copy", "deepcopy") and args and base in ((), ("g:copy",), ("m:copy",)):
        return shallow(args[0]) if last == "copy" else OPERATION
    elif last == "import_module" and text:
        return ("m:" + text,)
    if callee[0][0] in "nk" or callee == UNKNOWN:
        results: Refs = UNKNOWN
    else:
        made = tuple(w.call(one, args, kwargs, node, text, methods) for one in callee if one[0] not in "?nk")
        results = made or UNKNOWN
    if method in ("get", "pop", "setdefault") and args:
        results = with_member(w, base, results, key_text(node.args[0]))
        if len(args) == 2:
            # ``options.get("tags", DEFAULT)``: the default itself comes out.
            given = traceable(args[1])
            if given:
                results = given if results == UNKNOWN else join(results, given)
    elif method == "values" and any(is_holder(r) for r in base):
        return join(results, tuple(r for r in base if is_holder(r)))
    if last in PASSED_ON and args:
        return join(results, args[0])
    if last in HANDOVERS:
        return _hand_over(w, node, last, args, kwargs, results)
    return results


def _positional(w: Walker, node: Any) -> tuple[tuple[Refs, ...], str]:
    """The positional arguments, and the first constant string among them."""
    text = ""
    found = []
    for one in node.args:
        kind = one.__class__
        if kind is ast.Constant:
            value = one.value
            if not text and value.__class__ is str:
                text = value[:120]
            found.append(CONSTANTS.get(value.__class__, ("k:other",)))
        else:
            refs = TABLE[kind](w, one)
            if "." in refs[0]:
                _handed_over(w, node, refs)
            found.append(refs)
    return tuple(found), text


def _keywords(w: Walker, node: Any, text: str) -> tuple[dict[str, Refs], str, str]:
    """The keyword arguments, a constant ``methods=[...]``, and the first constant string."""
    kwargs: dict[str, Refs] = {}
    methods = ""
    for keyword in node.keywords:
        value = keyword.value
        refs = TABLE[value.__class__](w, value)
        name = keyword.arg
        if name is None:
            name = "**"
        elif name == "methods" and isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            methods = ",".join(
                e.value for e in value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)
            )
        elif name in ("path", "rule", "name") and not text and isinstance(value, ast.Constant):
            text = value.value[:120] if isinstance(value.value, str) else ""
        if "." in refs[0]:
            _handed_over(w, node, refs)
        kwargs[name] = refs
    return kwargs, methods, text


def _mutation(w: Walker, node: Any, base: Refs, method: str, args: tuple[Refs, ...], mark: int) -> None:
    """``HISTORY.append(x)``, and ``list.append(HISTORY, x)``."""
    keys = node.args
    if len(base) == 1 and base[0][:2] == "g:" and base[0][2:] in CONTAINER_CALLS:
        if not args:
            return
        base, args, keys = args[0], args[1:], keys[1:]
    key = key_text(keys[0]) if keys else ""
    value = args[-1] if args else ()
    w.write("call", base, node, how=method, key=key, value=value, taint=w.taint_since(mark))


def _through_alias(w: Walker, node: Any, callee: Refs, args: tuple[Refs, ...], mark: int) -> None:
    """``push = HISTORY.append; push(x)``; and a call of a parameter, which may be given such a method."""
    for ref in callee:
        base, _, name = ref.rpartition(".")
        if name in MUTATORS and base[:1] in _OWNED and len(base) > 2:
            taint = w.taint_since(mark)
            w.write("call", (base,), node, how=name, value=args[-1] if args else (), taint=taint)
        elif ref[:2] == "p:" and not base:
            w.write("invoke", (ref,), node, value=args[-1] if args else (), taint=w.taint_since(mark))


def _handed_over(w: Walker, node: Any, refs: Refs) -> None:
    """``run(HISTORY.append)``: whoever gets the bound method changes the container."""
    for ref in refs:
        base, _, name = ref.rpartition(".")
        if name in MUTATORS and base[:2] in ("g:", "p:", "f:", "m:") and len(base) > 2:
            w.write("call", (base,), node, how=name, flags="h")


def _hand_over(
    w: Walker, node: Any, last: str, args: tuple[Refs, ...], kwargs: dict[str, Refs], results: Refs
) -> Refs:
    """``to_thread(work, HISTORY)`` calls ``work(HISTORY)``; ``partial(work, HISTORY)`` will."""
    index = HANDOVERS[last]
    later = last in LATER
    if "target" in kwargs:
        target, rest = kwargs["target"], _elements(w, node)
    elif len(args) > index:
        target, rest = args[index], args[index + 1 :]
    else:
        return results
    for ref in target:
        if ref[0] in "gdpfm" and ref[-1] != ")":
            result = w.call(ref, rest, {} if "target" in kwargs else kwargs, node, later=later)
            if last in RETURNING_HANDOVERS:
                results = join(results, (result,))
    return results


def _elements(w: Walker, node: Any) -> tuple[Refs, ...]:
    """The names in ``args=(a, b)`` of a thread."""
    for keyword in node.keywords:
        if keyword.arg == "args" and isinstance(keyword.value, (ast.Tuple, ast.List)):
            return tuple(
                w.name(one.id) if isinstance(one, ast.Name) else UNKNOWN for one in keyword.value.elts
            )
    return ()


TABLE[ast.Call] = _call
