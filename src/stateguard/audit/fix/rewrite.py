"""Rewriting one file with libcst: formatting, comments, encoding and line endings stay."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from stateguard.audit.fix.imports import add_import, bound_names
from stateguard.audit.fix.plan import Repair

_EMPTY = {"list": "list", "dict": "dict", "set": "set"}


class Refused(Exception):
    """The file is left as it is; the message says why."""


def rewrite(source: bytes, repairs: Sequence[Repair]) -> tuple[bytes, list[Repair]]:
    """The repaired source and the repairs that were made. Raises :class:`Refused`.

    What comes out is compiled before it is given back: a repair never breaks a file.
    """
    try:
        wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    except Exception as error:  # libcst raises several kinds, and none of them may end the run
        raise Refused(f"libcst cannot parse it: {str(error).splitlines()[0]}") from error
    taken = bound_names(wrapper.module)
    usable = [r for r in repairs if _import_of(r) not in taken or not _import_of(r)]
    rewriter = _Rewriter(usable)
    module = wrapper.visit(rewriter)
    for name in sorted(rewriter.imports):
        module = add_import(module, name)
    result = module.bytes
    if result == source or not rewriter.made:
        return source, []
    try:
        compile(result, "<repaired>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"the repaired file would not compile: {error}") from error
    return result, rewriter.made


def _import_of(repair: Repair) -> str:
    return {"scoped": "scoped", "constant": "freeze", "contextvar": "freeze"}.get(repair.kind, "")


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, repairs: Sequence[Repair]) -> None:
        super().__init__()
        self._by_line = {(r.line, r.name): r for r in repairs}
        self.made: list[Repair] = []
        self.imports: set[str] = set()

    def _repair(self, node: cst.CSTNode, name: str) -> Repair | None:
        position = self.get_metadata(PositionProvider, node)
        repair = self._by_line.get((position.start.line, name))
        return None if repair in self.made else repair

    # -- variables -------------------------------------------------------------------------------

    def leave_Assign(self, original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        """``HISTORY = []`` and its relatives."""
        if len(original_node.targets) != 1:
            return updated_node
        target = original_node.targets[0].target
        if not isinstance(target, cst.Name):
            return updated_node
        value = self._value(original_node, target.value, updated_node.value)
        return updated_node if value is None else updated_node.with_changes(value=value)

    def leave_AnnAssign(self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign) -> cst.AnnAssign:
        """``HISTORY: list[str] = []``."""
        if not isinstance(original_node.target, cst.Name) or updated_node.value is None:
            return updated_node
        value = self._value(original_node, original_node.target.value, updated_node.value)
        return updated_node if value is None else updated_node.with_changes(value=value)

    def _value(self, node: cst.CSTNode, name: str, value: cst.BaseExpression) -> cst.BaseExpression | None:
        repair = self._repair(node, name)
        if repair is None or repair.kind == "default":
            return None
        new = {"scoped": self._scoped, "contextvar": self._contextvar, "constant": self._constant}[
            repair.kind
        ](value)
        if new is not None:
            self.made.append(repair)
        return new

    def _scoped(self, value: cst.BaseExpression) -> cst.BaseExpression | None:
        if _is_call_of(value, "scoped"):
            return None
        kind = _literal_kind(value)
        if kind is None:
            return None
        self.imports.add("scoped")
        if _is_empty(value):
            return _call("scoped", [cst.Arg(cst.Name(kind))])
        if isinstance(value, cst.Call) and kind == "call":
            arguments = [cst.Arg(value.func, comma=cst.MaybeSentinel.DEFAULT), *value.args]
            return _call("scoped", arguments)
        lambda_ = cst.Lambda(cst.Parameters(), value)
        return _call("scoped", [cst.Arg(lambda_)])

    def _contextvar(self, value: cst.BaseExpression) -> cst.BaseExpression | None:
        if not isinstance(value, cst.Call):
            return None
        arguments = list(value.args)
        for index, one in enumerate(arguments):
            if one.keyword is None or one.keyword.value != "default":
                continue
            frozen = self._constant(one.value)
            if frozen is None:
                return None
            arguments[index] = one.with_changes(value=frozen)
            return value.with_changes(args=arguments)
        return None

    def _constant(self, value: cst.BaseExpression) -> cst.BaseExpression | None:
        if isinstance(value, cst.List):
            if any(isinstance(e.value, (cst.List, cst.Dict, cst.Set)) for e in value.elements):
                self.imports.add("freeze")
                return _call("freeze", [cst.Arg(value)])
            return _tuple_of(value)
        if isinstance(value, cst.Set):
            return _call("frozenset", [cst.Arg(value)])
        if isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and not value.args:
            if value.func.value == "list":
                return cst.Tuple([])
            if value.func.value == "set":
                return _call("frozenset", [])
            if value.func.value != "dict":
                return None
        elif not isinstance(value, cst.Dict):
            return None
        self.imports.add("freeze")
        return _call("freeze", [cst.Arg(value)])

    # -- defaults --------------------------------------------------------------------------------

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """``def f(items=[])`` to ``items=None`` with a guard line at the top of the body."""
        guards: list[tuple[str, cst.BaseExpression]] = []
        parameters = updated_node.params
        for group in ("params", "posonly_params", "kwonly_params"):
            old = getattr(original_node.params, group)
            new = list(getattr(parameters, group))
            for index, parameter in enumerate(old):
                if parameter.default is None:
                    continue
                repair = self._default(parameter)
                if repair is None:
                    continue
                self.made.append(repair)
                guards.append((parameter.name.value, parameter.default))
                new[index] = new[index].with_changes(
                    default=cst.Name("None"), annotation=_optional(new[index].annotation)
                )
            parameters = parameters.with_changes(**{group: new})
        if not guards:
            return updated_node
        return updated_node.with_changes(params=parameters, body=_guarded(updated_node.body, guards))

    def _default(self, parameter: cst.Param) -> Repair | None:
        assert parameter.default is not None
        position = self.get_metadata(PositionProvider, parameter.default)
        repair = self._by_line.get((position.start.line, parameter.name.value))
        if repair is None or repair.kind != "default" or repair in self.made:
            return None
        return repair if _literal_kind(parameter.default) is not None else None


def _literal_kind(value: cst.BaseExpression) -> str | None:
    if isinstance(value, cst.List):
        return "list"
    if isinstance(value, cst.Dict):
        return "dict"
    if isinstance(value, (cst.Set, cst.ListComp, cst.DictComp, cst.SetComp)):
        return "set"
    if isinstance(value, cst.Call) and isinstance(value.func, (cst.Name, cst.Attribute)):
        if isinstance(value.func, cst.Name) and value.func.value in _EMPTY and not value.args:
            return value.func.value
        return "call"
    return None


def _is_empty(value: cst.BaseExpression) -> bool:
    if isinstance(value, (cst.List, cst.Dict)):
        return not value.elements
    return (
        isinstance(value, cst.Call)
        and isinstance(value.func, cst.Name)
        and value.func.value in _EMPTY
        and not value.args
    )


def _is_call_of(value: cst.BaseExpression, name: str) -> bool:
    return isinstance(value, cst.Call) and isinstance(value.func, cst.Name) and value.func.value == name


def _call(name: str, arguments: Sequence[cst.Arg]) -> cst.Call:
    return cst.Call(cst.Name(name), list(arguments))


def _tuple_of(value: cst.List) -> cst.Tuple:
    elements = list(value.elements)
    if len(elements) == 1 and isinstance(elements[0].comma, cst.MaybeSentinel):
        elements[0] = elements[0].with_changes(comma=cst.Comma())
    left = cst.LeftParen(whitespace_after=value.lbracket.whitespace_after)
    right = cst.RightParen(whitespace_before=value.rbracket.whitespace_before)
    return cst.Tuple(elements, lpar=[*value.lpar, left], rpar=[right, *value.rpar])


def _optional(annotation: cst.Annotation | None) -> cst.Annotation | None:
    """``list[str]`` to ``list[str] | None``."""
    if annotation is None:
        return None
    given = annotation.annotation
    code = cst.Module([]).code_for_node(given)
    if "None" in code or "Optional" in code or code.strip("\"'") in ("Any", "object", "typing.Any"):
        return annotation
    if isinstance(given, cst.SimpleString):
        quote = given.quote
        text = f"{given.prefix}{quote}{given.raw_value} | None{quote}"
        return annotation.with_changes(annotation=cst.SimpleString(text))
    if isinstance(given, cst.ConcatenatedString):
        return annotation
    if isinstance(given, cst.Lambda):
        return annotation
    return annotation.with_changes(annotation=cst.BinaryOperation(given, cst.BitOr(), cst.Name("None")))


def _guarded(body: cst.BaseSuite, guards: Sequence[tuple[str, cst.BaseExpression]]) -> cst.BaseSuite:
    lines = [_guard_line(name, value) for name, value in guards]
    if isinstance(body, cst.SimpleStatementSuite):
        end = cst.MaybeSentinel.DEFAULT
        inner = [cst.SimpleStatementLine([one.with_changes(semicolon=end)]) for one in body.body]
        last = inner[-1].with_changes(trailing_whitespace=body.trailing_whitespace)
        first_is_doc = _is_docstring(inner[0])
        rows: list[cst.BaseStatement] = [*inner[:-1], last]
        at = 1 if first_is_doc else 0
        return cst.IndentedBlock([*rows[:at], *lines, *rows[at:]])
    assert isinstance(body, cst.IndentedBlock)
    statements = list(body.body)
    first = statements[0] if statements else None
    at = 0
    if isinstance(first, cst.SimpleStatementLine) and _is_docstring(first):
        at = 1
        if len(first.body) > 1:  # ``"doc"; items.append(x)``
            doc = first.body[0].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
            rest = first.with_changes(body=first.body[1:], leading_lines=())
            statements[:1] = [cst.SimpleStatementLine([doc], leading_lines=first.leading_lines), rest]
    return body.with_changes(body=[*statements[:at], *lines, *statements[at:]])


def _is_docstring(statement: cst.BaseStatement) -> bool:
    return (
        isinstance(statement, cst.SimpleStatementLine)
        and isinstance(statement.body[0], cst.Expr)
        and isinstance(statement.body[0].value, (cst.SimpleString, cst.ConcatenatedString))
    )


def _guard_line(name: str, value: cst.BaseExpression) -> cst.SimpleStatementLine:
    test = cst.Comparison(cst.Name(name), [cst.ComparisonTarget(cst.Is(), cst.Name("None"))])
    choice = cst.IfExp(test=test, body=value, orelse=cst.Name(name))
    return cst.SimpleStatementLine([cst.Assign([cst.AssignTarget(cst.Name(name))], choice)])
