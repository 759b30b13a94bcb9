"""Statements: assignments, branches, loops, ``try``, ``with``."""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.walk import definitions, imports
from stateguard.audit.walk.calls import key_text
from stateguard.audit.walk.expressions import iterated
from stateguard.audit.walk.guards import missing
from stateguard.audit.walk.names import CLASS_VARIABLE, is_lock
from stateguard.audit.walk.patterns import bind_pattern
from stateguard.audit.walk.table import STATEMENTS, evaluate, read, visit_all
from stateguard.audit.walk.targets import assign, bind_class, bind_module
from stateguard.audit.walk.walker import UNKNOWN, Walker, join, normal

_JUMPS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_MISSING_ERRORS = {"KeyError", "AttributeError", "LookupError", "NameError", "IndexError", "Exception"}


def _assign(w: Walker, node: Any) -> None:
    mark = len(w.reads)
    if w.kind != "function":
        w.elements = []
    refs = evaluate(w, node.value)
    taint = w.taint_since(mark)
    for target in node.targets:
        assign(w, target, refs, taint, node)
    w.elements = None


def _annotated(w: Walker, node: Any) -> None:
    annotation = definitions.annotation_name(node.annotation)
    target = node.target
    simple = isinstance(target, ast.Name)
    if node.value is None:
        if w.kind == "class" and simple and w.class_facts is not None:
            w.class_facts.declared[target.id] = annotation
        return
    mark = len(w.reads)
    if w.kind != "function":
        w.elements = []
    refs = evaluate(w, node.value)
    if w.kind == "module" and simple:
        bind_module(w, target.id, target, refs, annotation, True)
    elif w.kind == "class" and simple:
        w.env[target.id] = refs
        if definitions.is_class_variable(node.annotation):
            annotation = CLASS_VARIABLE + annotation
        bind_class(w, target.id, target, refs, annotation, True)
    else:
        assign(w, target, refs, w.taint_since(mark), node)
    w.elements = None


def _augmented(w: Walker, node: Any) -> None:
    mark = len(w.reads)
    value = evaluate(w, node.value)
    taint = w.taint_since(mark)
    target = node.target
    arithmetic = node.op.__class__ in (ast.Add, ast.Sub)
    flags = "c" if arithmetic and _is_number(node.value) else "a" if arithmetic else ""
    if isinstance(target, ast.Name):
        name = target.id
        if name in w.global_names:
            w.write("bind+", ("g:" + name,), node, value=value, taint=taint, flags=flags)
        elif name in w.nonlocal_names:
            w.write("bind+", (w.nonlocal_names[name],), node, value=value, taint=taint, flags=flags)
        elif w.kind == "function":
            # ``h += [x]`` changes a list in place, and makes a new string or number: checks tell them apart.
            refs = w.env.get(name, UNKNOWN)
            if value not in (("k:num",), ("k:str",)):
                w.write("iadd", refs, node, how="+=", value=value, taint=taint, flags=flags)
            if taint:
                w.taint[name] = join(w.taint.get(name, ()), taint)
    elif isinstance(target, ast.Attribute):
        base = evaluate(w, target.value)
        w.write("attr+", base, node, key=target.attr, value=value, taint=taint, flags=flags)
    elif isinstance(target, ast.Subscript):
        base = evaluate(w, target.value)
        evaluate(w, target.slice)
        key = key_text(target.slice)
        w.write("item+", base, node, key=key, value=value, taint=taint, flags=flags)


def _is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def _delete(w: Walker, node: Any) -> None:
    for target in node.targets:
        if isinstance(target, ast.Subscript):
            base = evaluate(w, target.value)
            evaluate(w, target.slice)
            w.write("delitem", base, node, how="del", key=key_text(target.slice))
        elif isinstance(target, ast.Attribute):
            w.write("delattr", evaluate(w, target.value), node, how="del", key=target.attr)
        elif isinstance(target, ast.Name):
            if target.id in w.global_names:
                w.write("unbind", ("g:" + target.id,), node, how="del")
            w.env.pop(target.id, None)


def _expr(w: Walker, node: Any) -> None:
    if node.value.__class__ is not ast.Constant:
        evaluate(w, node.value)


def _return(w: Walker, node: Any) -> bool:
    if node.value is not None:
        refs = evaluate(w, node.value)
        returns = w.fn.returns
        for ref in refs:
            if ref not in returns and len(returns) < 12:
                returns.append(ref)
    return True


def _raise(w: Walker, node: Any) -> bool:
    visit_all(w, [node.exc, node.cause])
    return True


def _jump(w: Walker, node: Any) -> bool:
    return True


def _if(w: Walker, node: Any) -> bool:
    if w.kind == "module" and _is_main(node.test):
        w.module.has_main = True
    evaluate(w, node.test)
    when_true, when_false = missing(w, node.test)
    env, taint = w.fork()
    depth = len(w.guards)
    w.guards.extend(when_true)
    body_ends = read(w, node.body)
    del w.guards[depth:]
    after_body = (w.env, w.taint)
    w.env, w.taint = env, taint
    else_ends = False
    if node.orelse:
        w.guards.extend(when_false)
        else_ends = read(w, node.orelse)
        del w.guards[depth:]
    if else_ends and not body_ends:
        w.env, w.taint = after_body
    elif not body_ends:
        w.merge(*after_body)
    # ``if key in CACHE: return CACHE[key]``: what follows runs only when the key was missing.
    if body_ends and when_false:
        w.guards.extend(when_false)
    if else_ends and when_true:
        w.guards.extend(when_true)
    return body_ends and else_ends


def _is_main(test: ast.AST) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _for(w: Walker, node: Any) -> None:
    mark = len(w.reads)
    refs = evaluate(w, node.iter)
    env, taint = w.fork()
    assign(w, node.target, iterated(w, refs), w.taint_since(mark))
    read(w, node.body)
    w.merge(env, taint)
    if node.orelse:
        read(w, node.orelse)


def _while(w: Walker, node: Any) -> None:
    evaluate(w, node.test)
    env, taint = w.fork()
    read(w, node.body)
    w.merge(env, taint)
    if node.orelse:
        read(w, node.orelse)


def _try(w: Walker, node: Any) -> bool:
    env, taint = w.fork()
    outer_loads, w.loads = w.loads, []
    ends = read(w, node.body)
    loads, w.loads = w.loads, outer_loads
    if outer_loads is not None:
        outer_loads.extend(loads)
    after = (w.env, w.taint)
    results = []
    depth = len(w.guards)
    for handler in node.handlers:
        w.env, w.taint = env.copy(), taint.copy()
        w.merge(*after)
        if handler.type is not None:
            evaluate(w, handler.type)
        if handler.name:
            w.env[handler.name] = UNKNOWN
            w.taint.pop(handler.name, None)
        if _catches_missing(handler.type):
            w.guards.extend(normal(r) for r in loads if r[0] not in "nk?")
        handler_ends = read(w, handler.body)
        del w.guards[depth:]
        if not handler_ends:
            results.append((w.env, w.taint))
    w.env, w.taint = after
    if ends and results:
        # The body leaves on success: what follows runs only after a handler.
        if all(_catches_missing(h.type) for h in node.handlers) and not node.finalbody:
            w.guards.extend(normal(r) for r in loads if r[0] not in "nk?")
        w.env, w.taint = results.pop()
    for one in results:
        w.merge(*one)
    if node.orelse:
        ends = read(w, node.orelse) or ends
    final_ends = read(w, node.finalbody) if node.finalbody else False
    return final_ends or (ends and not results and all(_block_jumps(h.body) for h in node.handlers))


def _block_jumps(body: list[Any]) -> bool:
    return bool(body) and isinstance(body[-1], _JUMPS)


def _catches_missing(node: ast.AST | None) -> bool:
    if node is None:
        return True
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(n, ast.Name) and n.id in _MISSING_ERRORS for n in names)


def _with(w: Walker, node: Any) -> bool:
    outer = w.lock
    for one in node.items:
        mark = len(w.reads)
        refs = evaluate(w, one.context_expr)
        for ref in refs:
            name = ref[: ref.rindex("(")] if ref.endswith(")") else ref
            last = name.replace(":", ".").rpartition(".")[2]
            if is_lock(last):
                w.lock = last
        if one.optional_vars is not None:
            assign(w, one.optional_vars, refs, w.taint_since(mark))
    ends = read(w, node.body)
    w.lock = outer
    return ends


def _match(w: Walker, node: Any) -> None:
    mark = len(w.reads)
    subject = evaluate(w, node.subject)
    taint = w.taint_since(mark)
    start = w.fork()
    for case in node.cases:
        before = (w.env, w.taint)
        w.env, w.taint = start[0].copy(), start[1].copy()
        bind_pattern(w, case.pattern, subject, taint, node.lineno)
        if case.guard is not None:
            evaluate(w, case.guard)
        if not read(w, case.body):
            w.merge(*before)
        else:
            w.env, w.taint = before


def _global(w: Walker, node: Any) -> None:
    w.global_names = set(w.global_names) | set(node.names)
    for name in node.names:
        w.env.pop(name, None)


def _nonlocal(w: Walker, node: Any) -> None:
    for name in node.names:
        scope = w.parent
        while scope is not None:
            if scope.kind == "function" and (name in scope.history or name in scope.fn.params):
                scope.capture(name)
                w.nonlocal_names[name] = f"f:{scope.fn.qual}:{name}"
                break
            scope = scope.parent


def _assert(w: Walker, node: Any) -> None:
    evaluate(w, node.test)


def read_all(w: Walker, body: list[Any]) -> None:
    """Read all statements of a module, then the bodies of its functions."""
    read(w, body)
    w.run_deferred()


STATEMENTS.update(
    {
        ast.Assign: _assign,
        ast.AnnAssign: _annotated,
        ast.AugAssign: _augmented,
        ast.Delete: _delete,
        ast.Expr: _expr,
        ast.Return: _return,
        ast.Raise: _raise,
        ast.Continue: _jump,
        ast.Break: _jump,
        ast.If: _if,
        ast.For: _for,
        ast.AsyncFor: _for,
        ast.While: _while,
        ast.Try: _try,
        ast.TryStar: _try,
        ast.With: _with,
        ast.AsyncWith: _with,
        ast.Match: _match,
        ast.Global: _global,
        ast.Nonlocal: _nonlocal,
        ast.Assert: _assert,
        ast.Import: imports.record_import,
        ast.ImportFrom: imports.record_import_from,
        ast.FunctionDef: definitions.define_function,
        ast.AsyncFunctionDef: definitions.define_function,
        ast.ClassDef: definitions.define_class,
    }
)
