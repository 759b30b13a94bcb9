"""One source file to facts: parse, walk, collect suppression comments. The code is never run."""

from __future__ import annotations

import ast
import sys
import warnings

from stateguard.audit.comments import suppressions
from stateguard.audit.facts import MODULE_BODY, FunctionFacts, ModuleFacts
from stateguard.audit.walk.statements import ScopeReader

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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like are other tools' business
            tree = ast.parse(source)
    except SyntaxError as error:
        facts.error = f"cannot be parsed: {error.msg}"
        facts.error_line = error.lineno or 1
        return facts
    except ValueError as error:
        facts.error = f"cannot be parsed: {error}"
    except (RecursionError, MemoryError):
        facts.error = "nested too deeply for Python's own parser"
    if facts.error:
        facts.error_line = 1
        return facts
    _walk(tree, facts)
    facts.suppressions = suppressions(source)
    return facts


def _walk(tree: ast.Module, facts: ModuleFacts) -> None:
    body = FunctionFacts(MODULE_BODY, 1)
    facts.functions[MODULE_BODY] = body
    package = facts.name if facts.is_package else facts.name.rpartition(".")[0]
    reader = ScopeReader("module", facts, package, body)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, WALK_RECURSION_LIMIT))
    try:
        reader.read(tree.body)
        reader.run_deferred()
    except RecursionError:
        facts.error = "nested too deeply to be followed"
        facts.error_line = 1
    finally:
        sys.setrecursionlimit(limit)
