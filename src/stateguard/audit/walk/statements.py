"""Statements: assignments and their targets, branches, loops, ``try``, ``with``."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stateguard.audit.facts import Binding, Refs
from stateguard.audit.walk import definitions, imports
from stateguard.audit.walk.calls import key_text
from stateguard.audit.walk.expressions import iterated
from stateguard.audit.walk.guards import missing
from stateguard.audit.walk.holders import is_holder, member
from stateguard.audit.walk.names import ANNOTATION_KINDS, CLASS_VARIABLE, container_kind, is_lock
from stateguard.audit.walk.patterns import bind_pattern
from stateguard.audit.walk.table import evaluate, visit_all
from stateguard.audit.walk.walker import UNKNOWN, Walker, item, join, normal

_JUMPS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_MISSING_ERRORS = {"KeyError", "AttributeError", "LookupError", "NameError", "IndexError", "Exception"}


class ScopeReader(Walker):
    """A walker that reads statements."""

    __slots__ = ()

    def read(self, body: list[Any]) -> bool:
        """Read a block. True when control cannot come out at its end."""
        depth = len(self.guards)
        ended = False
        for node in body:
            handler = STATEMENTS.get(node.__class__)
            if handler is not None:
                ended = bool(handler(self, node)) or ended
        del self.guards[depth:]
        return ended

    def define_lambda(self, node: ast.Lambda) -> Refs:
        """Record a lambda as a function of its own."""
        return definitions.define_lambda(self, node)

    def assign(self, target: Any, refs: Refs, taint: Refs, node: ast.AST | None = None) -> None:
        """Bind a target: a local, a global, an attribute, an item, or several of these."""
        kind = target.__class__
        if kind is ast.Name:
            self._assign_name(target, refs, taint, node or target)
        elif kind is ast.Attribute:
            base = evaluate(self, target.value)
            self._note_own_attribute(base, target.attr, refs, target.lineno)
            flags = self._arithmetic_flag(refs, tuple(f"{r}.{target.attr}" for r in base))
            self.write("attr", base, node or target, key=target.attr, value=refs, taint=taint, flags=flags)
        elif kind is ast.Subscript:
            base = evaluate(self, target.value)
            mark = len(self.reads)
            evaluate(self, target.slice)
            flags = self._arithmetic_flag(refs, item(base))
            if len(self.reads) > mark:
                flags += "k"
            key = key_text(target.slice)
            self.write("item", base, node or target, key=key, value=refs, taint=taint, flags=flags)
        elif kind is ast.Tuple or kind is ast.List:
            parts = self._parts(target, refs, node)
            for one, part in zip(target.elts, parts, strict=True):
                self.assign(one, part, taint, node if one.__class__ not in (ast.Tuple, ast.List) else None)
        elif kind is ast.Starred:
            self.assign(target.value, UNKNOWN, taint, node)

    def _parts(self, target: Any, refs: Refs, node: Any) -> list[Refs]:
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
                (member(self, refs, str(index)) if held else ()) or self._part(one)
                for index, one in enumerate(pairs)
            ]
        if starred or pairs:
            return [UNKNOWN] * count
        return [item(refs, "![]")] * count

    def _part(self, node: ast.AST) -> Refs:
        # ``a, b = X, Y``: the right side has been evaluated; a plain name can be looked at again.
        if isinstance(node, ast.Name):
            return self.name(node.id)
        if isinstance(node, ast.Constant):
            return ("k:none",) if node.value is None else ("k:other",)
        return UNKNOWN

    def _assign_name(self, target: Any, refs: Refs, taint: Refs, node: Any) -> None:
        name = target.id
        if refs and refs[0][-1] == "#":
            refs = UNKNOWN
        if name in self.global_names:
            flags = self._arithmetic_flag(refs, ("g:" + name,))
            self.write("bind", ("g:" + name,), node, value=refs, taint=taint, flags=flags)
        elif name in self.nonlocal_names:
            ref = (self.nonlocal_names[name],)
            self.write("bind", ref, node, value=refs, taint=taint, flags=self._arithmetic_flag(refs, ref))
        elif self.kind == "function":
            self.bind(name, refs, taint, target.lineno)
        elif self.kind == "module":
            self._bind_module(name, target, refs, "", _alone(node, target))
        else:
            self.env[name] = refs
            self._bind_class(name, target, refs, "", _alone(node, target))

    def _bind_module(self, name: str, target: Any, refs: Refs, annotation: str, alone: bool) -> None:
        elements = tuple(dict.fromkeys(self.elements or ()))[:16]
        kind = container_kind(refs) or (ANNOTATION_KINDS.get(annotation, "") if refs != ("k:none",) else "")
        binding = Binding(target.lineno, target.col_offset, refs, elements, kind, annotation, alone)
        self.module.bindings.setdefault(name, []).append(binding)

    def _bind_class(self, name: str, target: Any, refs: Refs, annotation: str, alone: bool) -> None:
        if self.class_facts is not None:
            elements = tuple(dict.fromkeys(self.elements or ()))[:16]
            kind = container_kind(refs)
            binding = Binding(target.lineno, target.col_offset, refs, elements, kind, annotation, alone)
            self.class_facts.attrs.setdefault(name, []).append(binding)

    def _note_own_attribute(self, base: Refs, name: str, refs: Refs, line: int) -> None:
        params = self.fn.params
        if self.fn.owner and params and base == ("p:" + params[0],):
            owner = self.module.classes.get(self.fn.owner)
            if owner is not None:
                rows = owner.assigned.setdefault(name, [])
                if len(rows) < 8:
                    rows.extend((self.fn.qual, ref, line) for ref in refs)

    @staticmethod
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


def _assign(w: ScopeReader, node: Any) -> None:
    mark = len(w.reads)
    if w.kind != "function":
        w.elements = []
    refs = evaluate(w, node.value)
    taint = w.taint_since(mark)
    for target in node.targets:
        w.assign(target, refs, taint, node)
    w.elements = None


def _annotated(w: ScopeReader, node: Any) -> None:
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
        w._bind_module(target.id, target, refs, annotation, True)
    elif w.kind == "class" and simple:
        w.env[target.id] = refs
        if definitions.is_class_variable(node.annotation):
            annotation = CLASS_VARIABLE + annotation
        w._bind_class(target.id, target, refs, annotation, True)
    else:
        w.assign(target, refs, w.taint_since(mark), node)
    w.elements = None


def _augmented(w: ScopeReader, node: Any) -> None:
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


def _delete(w: ScopeReader, node: Any) -> None:
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


def _expr(w: ScopeReader, node: Any) -> None:
    if node.value.__class__ is not ast.Constant:
        evaluate(w, node.value)


def _return(w: ScopeReader, node: Any) -> bool:
    if node.value is not None:
        refs = evaluate(w, node.value)
        returns = w.fn.returns
        for ref in refs:
            if ref not in returns and len(returns) < 12:
                returns.append(ref)
    return True


def _raise(w: ScopeReader, node: Any) -> bool:
    visit_all(w, [node.exc, node.cause])
    return True


def _jump(w: ScopeReader, node: Any) -> bool:
    return True


def _if(w: ScopeReader, node: Any) -> bool:
    if w.kind == "module" and _is_main(node.test):
        w.module.has_main = True
    evaluate(w, node.test)
    when_true, when_false = missing(w, node.test)
    env, taint = w.fork()
    depth = len(w.guards)
    w.guards.extend(when_true)
    body_ends = w.read(node.body)
    del w.guards[depth:]
    after_body = (w.env, w.taint)
    w.env, w.taint = env, taint
    else_ends = False
    if node.orelse:
        w.guards.extend(when_false)
        else_ends = w.read(node.orelse)
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


def _for(w: ScopeReader, node: Any) -> None:
    mark = len(w.reads)
    refs = evaluate(w, node.iter)
    env, taint = w.fork()
    w.assign(node.target, iterated(w, refs), w.taint_since(mark))
    w.read(node.body)
    w.merge(env, taint)
    if node.orelse:
        w.read(node.orelse)


def _while(w: ScopeReader, node: Any) -> None:
    evaluate(w, node.test)
    env, taint = w.fork()
    w.read(node.body)
    w.merge(env, taint)
    if node.orelse:
        w.read(node.orelse)


def _try(w: ScopeReader, node: Any) -> bool:
    env, taint = w.fork()
    outer_loads, w.loads = w.loads, []
    ends = w.read(node.body)
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
        handler_ends = w.read(handler.body)
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
        ends = w.read(node.orelse) or ends
    final_ends = w.read(node.finalbody) if node.finalbody else False
    return final_ends or (ends and not results and all(_block_jumps(h.body) for h in node.handlers))


def _block_jumps(body: list[Any]) -> bool:
    return bool(body) and isinstance(body[-1], _JUMPS)


def _catches_missing(node: ast.AST | None) -> bool:
    if node is None:
        return True
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(n, ast.Name) and n.id in _MISSING_ERRORS for n in names)


def _with(w: ScopeReader, node: Any) -> bool:
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
            w.assign(one.optional_vars, refs, w.taint_since(mark))
    ends = w.read(node.body)
    w.lock = outer
    return ends


def _match(w: ScopeReader, node: Any) -> None:
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
        if not w.read(case.body):
            w.merge(*before)
        else:
            w.env, w.taint = before


def _global(w: ScopeReader, node: Any) -> None:
    w.global_names = set(w.global_names) | set(node.names)
    for name in node.names:
        w.env.pop(name, None)


def _nonlocal(w: ScopeReader, node: Any) -> None:
    for name in node.names:
        scope = w.parent
        while scope is not None:
            if scope.kind == "function" and (name in scope.history or name in scope.fn.params):
                scope.capture(name)
                w.nonlocal_names[name] = f"f:{scope.fn.qual}:{name}"
                break
            scope = scope.parent


def _assert(w: ScopeReader, node: Any) -> None:
    evaluate(w, node.test)


STATEMENTS: dict[type, Callable[[ScopeReader, Any], object]] = {
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
