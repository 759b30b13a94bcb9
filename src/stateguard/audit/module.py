"""One source file to facts: parse, walk, collect suppression comments. The code is never run."""

from __future__ import annotations

import ast
import sys
import warnings

from stateguard.audit.comments import suppressions
from stateguard.audit.facts import MODULE_BODY, FunctionFacts, ModuleFacts
from stateguard.audit.walk.statements import read_all
from stateguard.audit.walk.walker import Walker

WALK_RECURSION_LIMIT = 40_000
"""Python-level recursion allowed while walking. CPython 3.11+ keeps these frames on the heap; the parser
itself, which does use the C stack, runs under the interpreter's own limit."""


def read_module(
    source: str, name: str, path: str, is_package: bool = False, cells: list[tuple[int, int]] | None = None
) -> ModuleFacts:
    """The facts of one file. Never raises for what the file contains: ``error`` says what is wrong."""
    facts = ModuleFacts(name, path, is_package)
    if cells:
        facts.cells = cells
    tree, facts.error, facts.error_line = _parsed(source)
    if tree is None and cells:
        # One cell that does not parse, half-written or in another language, does not take the others along.
        source, facts.error, facts.error_line = _without_broken_cells(source, cells, facts.error)
        tree, _, _ = _parsed(source)
    if tree is not None:
        _walk(tree, facts)
        facts.suppressions = suppressions(source)
    return facts


def _parsed(source: str) -> tuple[ast.Module | None, str, int]:
    """The tree, or ``None``, what is wrong and on which line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are other tools' business
            return ast.parse(source), "", 0
    except SyntaxError as error:
        return None, f"cannot be parsed: {error.msg}", error.lineno or 1
    except ValueError as error:
        return None, f"cannot be parsed: {error}", 1
    except (RecursionError, MemoryError):
        return None, "is nested too deeply for Python's own parser", 1


def _without_broken_cells(source: str, cells: list[tuple[int, int]], problem: str) -> tuple[str, str, int]:
    """The source of a notebook, its broken cells blank; what is wrong with the first of them, and where."""
    lines = source.split("\n")
    starts = [start - 1 for start, _ in cells]
    at = 0
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        tree, found, line = _parsed("\n".join(lines[start:end]) + "\n")
        if tree is None:
            lines[start:end] = [""] * (end - start)
            if not at:
                problem, at = found, start + line
    return "\n".join(lines), problem, at or 1


def _walk(tree: ast.Module, facts: ModuleFacts) -> None:
    body = FunctionFacts(MODULE_BODY, 1)
    facts.functions[MODULE_BODY] = body
    package = facts.name if facts.is_package else facts.name.rpartition(".")[0]
    scope = Walker("module", facts, package, body)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, WALK_RECURSION_LIMIT))
    try:
        read_all(scope, tree.body)
    except RecursionError:
        facts.error = "is nested too deeply to be followed"
        facts.error_line = 1
    finally:
        sys.setrecursionlimit(limit)
