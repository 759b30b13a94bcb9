"""Functions, lambdas and classes: their facts, and when their bodies are read."""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.facts import ClassFacts, Decorator, Default, FunctionFacts, Refs
from stateguard.audit.walk.movable import repair_of_default
from stateguard.audit.walk.names import container_kind
from stateguard.audit.walk.table import evaluate, read
from stateguard.audit.walk.walker import Walker

_WRAPPERS = {"Optional", "Annotated", "ClassVar", "Final", "Awaitable", "Coroutine", "Type", "type"}


def annotation_name(node: ast.AST | None) -> str:
    """The dotted name an annotation starts with: ``list`` for ``list[str] | None``, empty when not a name."""
    while node is not None:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            base = annotation_name(node.value)
            return f"{base}.{node.attr}" if base else ""
        if isinstance(node, ast.Constant):
            text = node.value
            if not isinstance(text, str):
                return ""
            head = text.partition("[")[0].partition("|")[0].strip()
            return head if head.replace(".", "").isidentifier() else ""
        if isinstance(node, ast.BinOp):
            left = annotation_name(node.left)
            return left if left and left != "None" else annotation_name(node.right)
        if isinstance(node, ast.Subscript):
            name = annotation_name(node.value)
            if name.rpartition(".")[2] not in _WRAPPERS:
                return name
            node = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            continue
        return ""
    return ""


def is_class_variable(node: ast.AST) -> bool:
    """Whether an annotation says ``ClassVar``, as code or as a string."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr == "ClassVar"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.removeprefix("typing.").startswith("ClassVar")
    return isinstance(node, ast.Name) and node.id == "ClassVar"


def define_function(w: Walker, node: Any) -> None:
    """Record a function; its body is read when the enclosing scope is done."""
    name = node.name
    qual = unique(w, w.prefix + name)
    fn = FunctionFacts(qual, node.lineno, node.col_offset, node.end_lineno or node.lineno)
    fn.is_async = node.__class__ is ast.AsyncFunctionDef
    fn.decorators = read_decorators(w, node.decorator_list)
    if node.decorator_list:
        fn.line = node.lineno
    if node.returns is not None:
        fn.returns_annotation = annotation_name(node.returns)
    _start(w, fn, node)
    if w.kind == "class" and w.class_facts is not None:
        fn.owner = w.class_facts.qual
        w.class_facts.methods[name] = qual
        w.env[name] = ("d:" + qual,)
    elif w.kind == "function":
        if name in w.global_names:
            w.write("bind", ("g:" + name,), node, value=("d:" + qual,))
        else:
            w.bind(name, ("d:" + qual,), (), node.lineno)
    w.module.functions[qual] = fn
    body = node.body

    def read_body() -> None:
        _read_function(w, fn, qual, body)

    _root(w).deferred.append(read_body)


def define_lambda(w: Walker, node: ast.Lambda) -> Refs:
    """Record a lambda as a function named ``<lambda>``."""
    qual = unique(w, w.prefix + "<lambda>")
    fn = FunctionFacts(qual, node.lineno, node.col_offset, node.end_lineno or node.lineno)
    if w.fn.owner and w.kind == "function":
        fn.parent = w.fn.qual
    _start(w, fn, node)
    w.module.functions[qual] = fn
    body = [ast.copy_location(ast.Return(node.body), node.body)]

    def read_body() -> None:
        _read_function(w, fn, qual, body)

    _root(w).deferred.append(read_body)
    return ("d:" + qual,)


def _read_function(w: Walker, fn: FunctionFacts, qual: str, body: list[Any]) -> None:
    reader = Walker("function", w.module, w.package, fn, w, None, qual + ".")
    for name in fn.params:
        reader.env[name] = ("p:" + name,)
    own = fn.self_name
    for name in fn.params:
        if name != own:
            reader.taint[name] = (name,)
    read(reader, body)
    reader.run_deferred()


def define_class(w: Walker, node: Any) -> None:
    """Record a class and read its body now: it runs where it stands."""
    qual = unique(w, w.prefix + node.name, classes=True)
    facts = ClassFacts(qual, node.lineno, node.col_offset, w.fn.qual)
    facts.decorators = read_decorators(w, node.decorator_list)
    for base in node.bases:
        facts.bases.extend(evaluate(w, base))
    for keyword in node.keywords:
        refs = evaluate(w, keyword.value)
        if keyword.arg == "metaclass":
            facts.metaclass = refs[0]
    w.module.classes[qual] = facts
    if w.kind == "function":
        w.bind(node.name, ("d:" + qual,), (), node.lineno)
    elif w.kind == "class":
        w.env[node.name] = ("d:" + qual,)
    reader = Walker("class", w.module, w.package, w.fn, w, facts, qual + ".")
    read(reader, node.body)
    _root(w).deferred.extend(reader.deferred)


def _root(w: Walker) -> Walker:
    """The scope at whose end the bodies are read: functions of a class wait for the scope around it."""
    scope = w
    while scope.kind == "class" and scope.parent is not None:
        scope = scope.parent
    return scope


def unique(w: Walker, qual: str, classes: bool = False) -> str:
    """A qualified name not yet taken: redefinitions (overloads, property setters) get a number."""
    taken = w.module.classes if classes else w.module.functions
    if qual not in taken:
        return qual
    number = 2
    while f"{qual}@{number}" in taken:
        number += 1
    return f"{qual}@{number}"


def read_decorators(w: Walker, nodes: list[Any]) -> list[Decorator]:
    """The decorators of a definition, evaluated in the scope around it."""
    found = []
    for node in nodes:
        refs = evaluate(w, node)
        for ref in refs[:2]:
            if ref.endswith(")"):
                cut = ref.rindex("(")
                call = w.fn.calls[int(ref[cut + 1 : -1])]
                found.append(Decorator(ref[:cut], call.text, call.methods, node.lineno, True))
            else:
                found.append(Decorator(ref, "", "", node.lineno, False))
    return found


def _start(w: Walker, fn: FunctionFacts, node: Any) -> None:
    """Parameters, defaults and annotations; defaults are evaluated in the enclosing scope."""
    args: ast.arguments = node.args
    fn.defined_in = w.fn.qual
    if w.kind == "function":
        fn.parent = w.fn.qual
    positional = [*args.posonlyargs, *args.args]
    fn.params = [a.arg for a in positional]
    if args.vararg:
        fn.params.append(args.vararg.arg)
    fn.params.extend(a.arg for a in args.kwonlyargs)
    if args.kwarg:
        fn.params.append(args.kwarg.arg)
    for one in (*positional, *args.kwonlyargs):
        if one.annotation is not None:
            name = annotation_name(one.annotation)
            if name:
                fn.annotations[one.arg] = name
            depends = _depends_in(w, one.annotation)
            if depends:
                fn.defaults[one.arg] = Default((), "", one.lineno, one.col_offset, depends)
    pairs: list[tuple[ast.arg, ast.expr]] = []
    if args.defaults:
        pairs.extend(zip(positional[-len(args.defaults) :], args.defaults, strict=False))
    pairs.extend((a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=False) if d is not None)
    for arg, default in pairs:
        if default.__class__ is ast.Constant:
            continue
        refs = evaluate(w, default)
        depends = ""
        for ref in refs:
            if ref.endswith(")") and ref[: ref.rindex("(")].endswith(("Depends", "Security")):
                call = w.fn.calls[int(ref[ref.rindex("(") + 1 : -1])]
                depends = call.args[0][0] if call.args else fn.annotations.get(arg.arg, "")
        kind = container_kind(refs)
        repair = repair_of_default(node, arg.arg, default, w.kind, w.env) if kind else ""
        fn.defaults[arg.arg] = Default(refs, kind, default.lineno, default.col_offset, depends, repair)


def _depends_in(w: Walker, node: ast.AST) -> str:
    """``get_db`` of ``Annotated[Session, Depends(get_db)]``."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        for one in node.slice.elts[1:]:
            if isinstance(one, ast.Call) and isinstance(one.func, (ast.Name, ast.Attribute)):
                name = one.func.id if isinstance(one.func, ast.Name) else one.func.attr
                if name in ("Depends", "Security") and one.args:
                    return evaluate(w, one.args[0])[0]
    return ""
