"""What an expression refers to, and the calls and writes inside it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.names import CERTAIN_MUTATORS, FIRST_ARGUMENT_MUTATORS, MUTATORS, SHALLOW_COPIES
from stateguard.audit.walk.walker import UNKNOWN, Walker, attribute, item, join, shallow

NUMBER: Refs = ("k:num",)
STRING: Refs = ("k:str",)
NONE: Refs = ("k:none",)
BOOL: Refs = ("k:bool",)
OTHER: Refs = ("k:other",)
OPERATION: Refs = ("n:op",)

_CONSTANTS: dict[type, Refs] = {
    str: STRING,
    int: NUMBER,
    float: NUMBER,
    complex: NUMBER,
    bool: BOOL,
    type(None): NONE,
    bytes: OTHER,
}


def evaluate(w: Walker, node: ast.AST) -> Refs:
    """What ``node`` refers to; its calls and writes are recorded on the way."""
    return TABLE[node.__class__](w, node)


def visit_all(w: Walker, nodes: list[Any]) -> None:
    """Evaluate for the effects only."""
    for node in nodes:
        if node is not None:
            TABLE[node.__class__](w, node)


def _constant(w: Walker, node: Any) -> Refs:
    return _CONSTANTS.get(node.value.__class__, OTHER)


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
    found = item(refs, "![]" if key.__class__ is ast.Constant else "[]")
    if w.loads is not None:
        w.loads.extend(found)
    return found


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
        callee = attribute(base, method)
    else:
        callee = evaluate(w, func)
    mark = len(w.reads)
    args: tuple[Refs, ...] = ()
    text = ""
    key = ""
    if node.args:
        found = []
        for one in node.args:
            kind = one.__class__
            if kind is ast.Constant:
                value = one.value
                if not text and value.__class__ is str:
                    text = value[:120]
                found.append(_CONSTANTS.get(value.__class__, OTHER))
            else:
                found.append(TABLE[kind](w, one))
        args = tuple(found)
        for refs in args:
            if "." in refs[0]:
                _handed_over(w, node, refs)
        key = key_text(node.args[0])
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
        kwargs[name] = refs
    if method:
        if method in MUTATORS:
            taint = w.taint_since(mark)
            value_refs = args[-1] if args else ()
            w.write("call", base, node, how=method, key=key, value=value_refs, taint=taint)
    elif func.__class__ is ast.Name and func.id in _SPECIAL:
        special = _SPECIAL[func.id](w, node, args, mark)
        if special is not None:
            return special
    last = method or (func.id if func.__class__ is ast.Name else "")
    if args and last in FIRST_ARGUMENT_MUTATORS:
        taint = w.taint_since(mark)
        w.write("call", args[0], node, how=last, value=args[-1], taint=taint)
    elif method == "copy" and not args:
        return shallow(base)
    elif method in ("copy", "deepcopy") and base in (("g:copy",), ("m:copy",)):
        return shallow(args[0]) if method == "copy" and args else OPERATION
    elif method == "add_done_callback" and args:
        # ``task.add_done_callback(TASKS.discard)``: what was added is removed again.
        for ref in args[0]:
            owner, _, name = ref.rpartition(".")
            if name in ("discard", "remove") and owner[:1] in ("g", "p", "f", "m"):
                w.write("call", (owner,), node, how=name)
    if callee[0][0] in "nk" or callee == UNKNOWN:
        return UNKNOWN
    results = [w.call(one, args, kwargs, node, text, methods) for one in callee if one != "?"]
    return tuple(results) if results else UNKNOWN


def _handed_over(w: Walker, node: Any, refs: Refs) -> None:
    """``run(HISTORY.append)``: whoever gets the bound method changes the container."""
    for ref in refs:
        base, _, name = ref.rpartition(".")
        if name in CERTAIN_MUTATORS and base[:2] in ("g:", "p:", "f:", "m:") and len(base) > 2:
            w.write("call", (base,), node, how=name)


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


_SPECIAL: dict[str, Callable[[Walker, Any, tuple[Refs, ...], int], Refs | None]] = {
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
    result: Refs = ("n:" + kind,)

    def visit(w: Walker, node: Any) -> Refs:
        elements = w.elements
        for one in node.elts:
            refs = TABLE[one.__class__](w, one)
            if elements is not None and refs[0][0] in "gmdpf":
                elements.extend(refs)
        return result

    return visit


def _dict(w: Walker, node: Any) -> Refs:
    elements = w.elements
    for key in node.keys:
        if key is not None and key.__class__ is not ast.Constant:
            evaluate(w, key)
    for one in node.values:
        refs = TABLE[one.__class__](w, one)
        if elements is not None and refs[0][0] in "gmdpf":
            elements.extend(refs)
    return ("n:dict",)


def _comprehension(kind: str) -> Callable[[Walker, Any], Refs]:
    result: Refs = ("n:" + kind,)

    def visit(w: Walker, node: Any) -> Refs:
        env, taint = w.fork()
        for one in node.generators:
            mark = len(w.reads)
            refs = evaluate(w, one.iter)
            w.assign(one.target, iterated(w, refs), w.taint_since(mark))
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
    return w.define_lambda(node)


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
    w.assign(node.target, refs, w.taint_since(mark))
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


TABLE: dict[type, Callable[[Walker, Any], Refs]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.Call: _call,
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
for _newer in ("TemplateStr", "Interpolation"):  # Python 3.14
    if hasattr(ast, _newer):
        TABLE[getattr(ast, _newer)] = _template
