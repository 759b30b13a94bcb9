"""What an expression refers to, and the calls and writes inside it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.definitions import define_lambda
from stateguard.audit.walk.holders import ANY, constant_key, hold, is_holder, member, with_member
from stateguard.audit.walk.table import (
    BOOL,
    CONSTANTS,
    NUMBER,
    OPERATION,
    OTHER,
    STRING,
    TABLE,
    evaluate,
    visit_all,
)
from stateguard.audit.walk.targets import assign
from stateguard.audit.walk.walker import UNKNOWN, Walker, attribute, item, join, shallow


def _constant(w: Walker, node: Any) -> Refs:
    return CONSTANTS.get(node.value.__class__, OTHER)


def _name(w: Walker, node: Any) -> Refs:
    return w.name(node.id)


def _attribute(w: Walker, node: Any) -> Refs:
    value = node.value
    refs = TABLE[value.__class__](w, value)
    name = node.attr
    if len(refs) == 1 and refs[0][0] in "gmpf":
        ref = refs[0]
        found: Refs = (ref + "." + name,) if len(ref) <= 160 else UNKNOWN
    else:
        found = attribute(refs, name)
    if w.loads is not None:
        w.loads.extend(found)
    return found


def _subscript(w: Walker, node: Any) -> Refs:
    refs = evaluate(w, node.value)
    key = node.slice
    evaluate(w, key)
    if key.__class__ is ast.Slice:
        return shallow(refs)
    constant = key.__class__ is ast.Constant
    if key.__class__ is ast.Name and key.id == "__name__" and refs[0] in ("g:sys.modules", "m:sys.modules"):
        return ("m:" + w.module.name,)
    if constant and refs[0] in ("g:sys.modules", "m:sys.modules") and isinstance(key.value, str):
        return ("m:" + key.value,)
    found = item(tuple(r for r in refs if r[:2] != "h:"), "![]" if constant else "[]")
    if w.loads is not None:
        w.loads.extend(found)
    return with_member(w, refs, found, constant_key(key) if constant else "")


def _bool_op(w: Walker, node: Any) -> Refs:
    values = [evaluate(w, one) for one in node.values]
    found = values[0]
    if node.op.__class__ is ast.Or and found[0].startswith("p:") and "." not in found[0]:
        # ``items or []``: an empty default is replaced, so what comes out is never the default itself.
        default = w.fn.defaults.get(found[0][2:])
        if default is not None and default.kind:
            found = OPERATION
    for one in values[1:]:
        found = join(found, one)
    return found


def _bin_op(w: Walker, node: Any) -> Refs:
    left = evaluate(w, node.left)
    right = evaluate(w, node.right)
    if node.op.__class__ in (ast.Add, ast.Sub) and NUMBER in (left, right):
        refs = left if right == NUMBER else right
        return tuple(r + "+" for r in refs if r[0] not in "nk?") or OPERATION
    if left[0][0] == "k" and left == right:
        return left
    return OPERATION


def _unary(w: Walker, node: Any) -> Refs:
    refs = evaluate(w, node.operand)
    return BOOL if node.op.__class__ is ast.Not else refs if refs == NUMBER else OPERATION


def _compare(w: Walker, node: Any) -> Refs:
    evaluate(w, node.left)
    visit_all(w, node.comparators)
    return BOOL


def _if_exp(w: Walker, node: Any) -> Refs:
    evaluate(w, node.test)
    return join(evaluate(w, node.body), evaluate(w, node.orelse))


def _display(kind: str) -> Callable[[Walker, Any], Refs]:
    def visit(w: Walker, node: Any) -> Refs:
        elements = w.elements
        members: list[tuple[str, Refs]] = []
        copied: Refs = ()
        for index, one in enumerate(node.elts):
            if one.__class__ is ast.Starred:
                copied = join(copied, shallow(evaluate(w, one.value)))
                continue
            refs = TABLE[one.__class__](w, one)
            if elements is not None and refs[0][0] in "gmdpf":
                elements.extend(refs)
            members.append((ANY if copied else str(index), refs))
        made = hold(w, kind, members)
        return join(made, tuple(r for r in copied if r[0] != "n")) if copied else made

    return visit


def _dict(w: Walker, node: Any) -> Refs:
    elements = w.elements
    members: list[tuple[str, Refs]] = []
    copied: Refs = ()
    for key, one in zip(node.keys, node.values, strict=True):
        if key is None:
            copied = join(copied, shallow(evaluate(w, one)))
            continue
        if key.__class__ is not ast.Constant:
            evaluate(w, key)
        refs = TABLE[one.__class__](w, one)
        if elements is not None and refs[0][0] in "gmdpf":
            elements.extend(refs)
        members.append((constant_key(key), refs))
    made = hold(w, "dict", members)
    return join(made, tuple(r for r in copied if r[0] != "n")) if copied else made


def _comprehension(kind: str) -> Callable[[Walker, Any], Refs]:
    result: Refs = ("n:" + kind,)

    def visit(w: Walker, node: Any) -> Refs:
        env, taint = w.fork()
        for one in node.generators:
            mark = len(w.reads)
            refs = evaluate(w, one.iter)
            assign(w, one.target, iterated(w, refs), w.taint_since(mark))
            visit_all(w, one.ifs)
        if kind == "dict":
            evaluate(w, node.key)
            refs = evaluate(w, node.value)
        else:
            refs = evaluate(w, node.elt)
        if w.elements is not None and refs[0][0] in "gmdpf":
            w.elements.extend(refs)
        w.env, w.taint = env, taint
        return result

    return visit


def iterated(w: Walker, refs: Refs) -> Refs:
    """What the loop variable refers to when looping over ``refs``.

    A trailing ``#`` says: a pair whose second member is the object, as ``.items()`` and ``enumerate`` give.
    """
    found: list[str] = []
    for ref in refs:
        if is_holder(ref):
            found.extend(member(w, (ref,), ""))
            continue
        if ref.endswith(")"):
            base = ref[: ref.rindex("(")]
            if base.endswith(".values"):
                found.append(base[:-7] + "[]")
                continue
            if base.endswith(".items"):
                found.append(base[:-6] + "[]#")
                continue
            if base.endswith(".keys"):
                continue
            if base == "g:enumerate":
                given = w.fn.calls[int(ref[len(base) + 1 : -1])].args
                found.extend(r + "#" for r in (iterated(w, given[0]) if given else ()) if r[-1] not in "?#")
                continue
        if ref[0] not in "nk?":
            found.append(ref[:-1] + "[]" if ref[-1] == "~" else ref + "[]")
    return tuple(found) or UNKNOWN


def _lambda(w: Walker, node: Any) -> Refs:
    return define_lambda(w, node)


def _await(w: Walker, node: Any) -> Refs:
    return evaluate(w, node.value)


def _yield(w: Walker, node: Any) -> Refs:
    w.fn.is_generator = True
    if node.value is not None:
        refs = evaluate(w, node.value)
        w.fn.returns.extend(r for r in refs if r not in w.fn.returns)
    return UNKNOWN


def _named(w: Walker, node: Any) -> Refs:
    mark = len(w.reads)
    refs = evaluate(w, node.value)
    assign(w, node.target, refs, w.taint_since(mark))
    return refs


def _joined(w: Walker, node: Any) -> Refs:
    for one in node.values:
        if one.__class__ is not ast.Constant:
            evaluate(w, one)
    return STRING


def _formatted(w: Walker, node: Any) -> Refs:
    evaluate(w, node.value)
    if node.format_spec is not None:
        evaluate(w, node.format_spec)
    return STRING


def _starred(w: Walker, node: Any) -> Refs:
    evaluate(w, node.value)
    return UNKNOWN


def _slice(w: Walker, node: Any) -> Refs:
    visit_all(w, [node.lower, node.upper, node.step])
    return UNKNOWN


def _template(w: Walker, node: Any) -> Refs:
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.expr):
            evaluate(w, one)
    return UNKNOWN


_READERS: dict[type, Callable[[Walker, Any], Refs]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.BoolOp: _bool_op,
    ast.BinOp: _bin_op,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.IfExp: _if_exp,
    ast.List: _display("list"),
    ast.Tuple: _display("tuple"),
    ast.Set: _display("set"),
    ast.Dict: _dict,
    ast.ListComp: _comprehension("list"),
    ast.SetComp: _comprehension("set"),
    ast.DictComp: _comprehension("dict"),
    ast.GeneratorExp: _comprehension("gen"),
    ast.Lambda: _lambda,
    ast.Await: _await,
    ast.Yield: _yield,
    ast.YieldFrom: _yield,
    ast.NamedExpr: _named,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
    ast.Starred: _starred,
    ast.Slice: _slice,
}
TABLE.update(_READERS)
for _newer in ("TemplateStr", "Interpolation"):  # Python 3.14
    if hasattr(ast, _newer):
        TABLE[getattr(ast, _newer)] = _template
