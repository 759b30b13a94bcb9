"""The import that a repair needs: added once, in the place where imports are."""

from __future__ import annotations

import sys

import libcst as cst

PACKAGE = "stateguard"


def bound_names(module: cst.Module) -> set[str]:
    """``scoped`` and ``freeze`` where the module binds them to something else than ours, at its top level."""
    found: set[str] = set()
    for statement in module.body:
        if isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
            found.add(statement.name.value)
        elif isinstance(statement, cst.SimpleStatementLine):
            for one in statement.body:
                found.update(_bound(one))
    return found & {"scoped", "freeze"}


def _bound(statement: cst.BaseSmallStatement) -> set[str]:
    if isinstance(statement, cst.Assign):
        return {t.target.value for t in statement.targets if isinstance(t.target, cst.Name)}
    if isinstance(statement, cst.ImportFrom) and not isinstance(statement.names, cst.ImportStar):
        if _is_ours(statement):
            return {_alias(a) for a in statement.names if a.asname and _alias(a) != a.name.value}
        return {_alias(a) for a in statement.names}
    if isinstance(statement, cst.Import):
        return {_alias(a) for a in statement.names}
    return set()


def _alias(alias: cst.ImportAlias) -> str:
    if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
        return alias.asname.name.value
    return alias.name.value if isinstance(alias.name, cst.Name) else ""


def _is_ours(statement: cst.ImportFrom) -> bool:
    return (
        not statement.relative
        and isinstance(statement.module, cst.Name)
        and statement.module.value == PACKAGE
    )


def add_import(module: cst.Module, name: str) -> cst.Module:
    """``from stateguard import name``, joined to one that is there, else after the leading imports."""
    body = list(module.body)
    last = 0
    for index, statement in enumerate(body):
        if not isinstance(statement, cst.SimpleStatementLine):
            break
        if not all(isinstance(s, (cst.Import, cst.ImportFrom, cst.Expr)) for s in statement.body):
            break
        if any(isinstance(s, cst.Expr) for s in statement.body):
            if index and not isinstance(statement.body[0], cst.Expr):
                break
            if index == 0:
                last = 1
            continue
        last = index + 1
        for position, one in enumerate(statement.body):
            if (
                isinstance(one, cst.ImportFrom)
                and _is_ours(one)
                and not isinstance(one.names, cst.ImportStar)
            ):
                if any(_alias(a) == name for a in one.names):
                    return module
                joined = _joined(one, name)
                parts = [*statement.body[:position], joined, *statement.body[position + 1 :]]
                body[index] = statement.with_changes(body=parts)
                return module.with_changes(body=body)
    line = cst.SimpleStatementLine([cst.ImportFrom(cst.Name(PACKAGE), [cst.ImportAlias(cst.Name(name))])])
    if last and _ends_a_group(body[last - 1]):
        line = line.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
    if last == 0 and body:
        # Nothing is imported yet: the first statement keeps its comments.
        first = body[0]
        if hasattr(first, "leading_lines") and not any(e.comment for e in first.leading_lines):
            gap = [cst.EmptyLine(indent=False)]
            body[0] = first.with_changes(leading_lines=[*gap, *first.leading_lines])
    return module.with_changes(body=[*body[:last], line, *body[last:]])


def _ends_a_group(statement: cst.BaseStatement) -> bool:
    """Whether a blank line belongs between the statement and the import of a third-party package."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    one = statement.body[0]
    if isinstance(one, cst.Expr):
        return True
    if isinstance(one, cst.ImportFrom):
        name = cst.Module([]).code_for_node(one.module) if one.module is not None else ""
        return not one.relative and name.partition(".")[0] in sys.stdlib_module_names
    if isinstance(one, cst.Import):
        name = cst.Module([]).code_for_node(one.names[0].name)
        return name.partition(".")[0] in sys.stdlib_module_names
    return False


def _joined(statement: cst.ImportFrom, name: str) -> cst.ImportFrom:
    assert not isinstance(statement.names, cst.ImportStar)
    names = list(statement.names)
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    trailing = names[-1].comma
    names[-1] = names[-1].with_changes(comma=comma)
    extra = cst.ImportAlias(cst.Name(name))
    if statement.lpar is not None and not isinstance(trailing, cst.MaybeSentinel):
        names[-1] = names[-1].with_changes(comma=names[0].comma if len(names) > 1 else comma)
        extra = extra.with_changes(comma=trailing)
    return statement.with_changes(names=[*names, extra])
