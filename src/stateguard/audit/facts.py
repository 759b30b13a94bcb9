"""What is kept of one source file: plain values that can be cached, sent to another process and linked.

The analysis has two halves. The first reads one file at a time and records *facts*: what is bound, what is
called, what is written. The second links the facts of all files and never looks at a syntax tree again.

A place in the code is described by a *reference*, a short string: a root, then what is done to it.

========== ======================================================================
root       meaning
========== ======================================================================
``g:X``    the name ``X`` of this module (or a builtin)
``p:x``    a parameter of this function
``f:q:x``  the local ``x`` of the enclosing function ``q``
``d:q``    the function or class that this module defines as ``q``
``m:a.b``  what ``import a.b`` names
``n:list`` a new object of this kind, nobody else's yet
``h:3``    holder 3 of this function: a new container with members that are not new
``k:num``  a constant of this kind
``?``      not known
========== ======================================================================

Suffixes: ``.name`` an attribute, ``[]`` an item (``![]`` by a constant key), ``(3)`` the result of call
number 3 of the function, ``~`` a shallow copy, ``+`` the result of arithmetic with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FACTS_VERSION = 4
"""Part of every cache key: raise it when the meaning of any fact changes."""

MODULE_BODY = "<module>"
"""The function name under which import-time code is recorded."""

Refs = tuple[str, ...]


class Write(NamedTuple):
    """One place where code changes an object or rebinds a name.

    ``op`` is one of ``call`` (a mutating method, named by ``how``), ``item``, ``item+``, ``delitem``,
    ``attr``, ``attr+``, ``delattr``, ``bind``, ``bind+``, ``unbind``, ``iadd`` and ``invoke`` (a parameter is
    called, which may be some object's mutating method). ``ref`` is the object that changes: the container,
    the owner of the attribute, or the name that is rebound.
    """

    ref: str
    op: str
    line: int
    column: int
    end_line: int
    end_column: int
    how: str
    key: str
    value: Refs
    taint: Refs
    guard: str
    lock: str
    flags: str


class Call(NamedTuple):
    """One call. ``text`` is its first constant string, ``methods`` a constant ``methods=[...]``.

    ``later`` calls are only bound here (``partial(work, HISTORY)``): they happen when the result is called.
    """

    callee: str
    args: tuple[Refs, ...]
    kwargs: dict[str, Refs]
    line: int
    column: int
    text: str
    methods: str
    lock: str
    later: bool = False


class Default(NamedTuple):
    """A parameter's default value. ``depends`` is what FastAPI's ``Depends(...)`` names, else empty;
    ``repair`` how safely the value can be made in the body instead: ``safe``, ``unsafe``, empty if it cannot.
    """

    refs: Refs
    kind: str
    line: int
    column: int
    depends: str
    repair: str = ""


class Decorator(NamedTuple):
    """A decorator: what is called, its first constant string and its constant ``methods=[...]``."""

    ref: str
    text: str
    methods: str
    line: int
    called: bool


class Binding(NamedTuple):
    """One assignment to a module-level name or in a class body. ``kind`` is a container kind or empty;
    ``alone`` says that the statement is a plain assignment and binds nothing else.
    """

    line: int
    column: int
    refs: Refs
    elements: Refs
    kind: str
    annotation: str
    alone: bool


@dataclass(slots=True)
class FunctionFacts:
    """One function, method or lambda; also the body of a module.

    ``defined_in`` is the function in whose terms defaults and decorators are written, ``parent`` the one
    whose locals the body sees.
    """

    qual: str
    line: int = 0
    column: int = 0
    end_line: int = 0
    owner: str = ""
    parent: str = ""
    params: list[str] = field(default_factory=list)
    defaults: dict[str, Default] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    returns_annotation: str = ""
    decorators: list[Decorator] = field(default_factory=list)
    is_async: bool = False
    is_generator: bool = False
    writes: list[Write] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    returns: list[str] = field(default_factory=list)
    context_reads: list[str] = field(default_factory=list)
    captured: dict[str, list[str]] = field(default_factory=dict)
    captured_at: dict[str, int] = field(default_factory=dict)
    holders: list[dict[str, list[str]]] = field(default_factory=list)
    defined_in: str = MODULE_BODY

    @property
    def name(self) -> str:
        """The last part of the qualified name."""
        return self.qual.rpartition(".")[2]

    @property
    def self_name(self) -> str:
        """The name of the instance or class parameter, empty for functions and static methods."""
        if self.owner and self.params and not any(d.ref == "g:staticmethod" for d in self.decorators):
            return self.params[0]
        return ""

    @property
    def is_classmethod(self) -> bool:
        """Whether the first parameter is the class."""
        return bool(self.owner) and (
            self.name in ("__init_subclass__", "__class_getitem__", "__new__")
            or any(d.ref == "g:classmethod" for d in self.decorators)
        )


@dataclass(slots=True)
class ClassFacts:
    """One class: what its body binds and what its methods assign to ``self``.

    ``parent`` is the function in whose terms the body is written: often the module's own.
    """

    qual: str
    line: int = 0
    column: int = 0
    parent: str = MODULE_BODY
    bases: list[str] = field(default_factory=list)
    decorators: list[Decorator] = field(default_factory=list)
    attrs: dict[str, list[Binding]] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    assigned: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    metaclass: str = ""


@dataclass(slots=True)
class Suppression:
    """A ``# stateguard: ignore[...]`` comment. No codes means every rule; ``whole_file`` means every line.

    ``begins`` is the first line of the statement, where the comment stands behind its end: else its own line.
    """

    line: int
    column: int
    codes: tuple[str, ...]
    reason: str
    whole_file: bool = False
    begins: int = 0


@dataclass(slots=True)
class ModuleFacts:
    """Everything kept of one file. ``error`` is set, and the rest empty, when it cannot be read or parsed."""

    name: str
    path: str
    is_package: bool = False
    error: str = ""
    error_line: int = 0
    imports: dict[str, list[str]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    functions: dict[str, FunctionFacts] = field(default_factory=dict)
    classes: dict[str, ClassFacts] = field(default_factory=dict)
    suppressions: list[Suppression] = field(default_factory=list)
    has_main: bool = False
    cells: list[tuple[int, int]] = field(default_factory=list)


def dump(facts: ModuleFacts) -> str:
    """Facts as compact JSON (never pickle: a cache directory may come from somebody else)."""
    functions = [
        [getattr(function, name) for name in FunctionFacts.__slots__] for function in facts.functions.values()
    ]
    classes = [[getattr(one, name) for name in ClassFacts.__slots__] for one in facts.classes.values()]
    rest = [
        getattr(facts, name)
        for name in ModuleFacts.__slots__
        if name not in ("functions", "classes", "suppressions")
    ]
    suppressions = [[getattr(one, name) for name in Suppression.__slots__] for one in facts.suppressions]
    return json.dumps([rest, functions, classes, suppressions], separators=(",", ":"))


def load(text: str) -> ModuleFacts:
    """The inverse of :func:`dump`. A damaged text raises ``ValueError``, ``TypeError`` or ``LookupError``."""
    rest, functions, classes, suppressions = json.loads(text)
    names = [n for n in ModuleFacts.__slots__ if n not in ("functions", "classes", "suppressions")]
    facts = ModuleFacts(**dict(zip(names, rest, strict=True)))
    bindings: dict[str, list[Any]] = dict(facts.bindings)
    facts.bindings = {name: [_binding(b) for b in rows] for name, rows in bindings.items()}
    facts.cells = [(a, b) for a, b in facts.cells]
    for row in functions:
        function = FunctionFacts(*row)
        function.defaults = {n: Default(tuple(d[0]), *d[1:]) for n, d in function.defaults.items()}
        function.decorators = [Decorator(*d) for d in function.decorators]
        writes: list[Any] = list(function.writes)
        calls: list[Any] = list(function.calls)
        function.writes = [_write(w) for w in writes]
        function.calls = [_call(c) for c in calls]
        facts.functions[function.qual] = function
    for row in classes:
        one = ClassFacts(*row)
        one.decorators = [Decorator(*d) for d in one.decorators]
        attrs: dict[str, list[Any]] = dict(one.attrs)
        one.attrs = {name: [_binding(b) for b in rows] for name, rows in attrs.items()}
        one.assigned = {name: [(a, b, c) for a, b, c in rows] for name, rows in one.assigned.items()}
        facts.classes[one.qual] = one
    facts.suppressions = [Suppression(s[0], s[1], tuple(s[2]), s[3], s[4], s[5]) for s in suppressions]
    return facts


def _binding(row: list[Any]) -> Binding:
    return Binding(row[0], row[1], tuple(row[2]), tuple(row[3]), row[4], row[5], row[6])


def _write(row: list[Any]) -> Write:
    return Write._make([*row[:8], tuple(row[8]), tuple(row[9]), *row[10:]])


def _call(row: list[Any]) -> Call:
    args = tuple(tuple(refs) for refs in row[1])
    return Call(row[0], args, {k: tuple(v) for k, v in row[2].items()}, *row[3:])
