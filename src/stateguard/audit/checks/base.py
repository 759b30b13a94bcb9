"""What the rule families share: the linked program, and what a family says about a write."""

from __future__ import annotations

from dataclasses import dataclass, field

from stateguard.audit.callgraph import CallGraph
from stateguard.audit.effects import Effects, SharedWrite
from stateguard.audit.entrypoints import EntryPoints
from stateguard.audit.facts import Binding, Write
from stateguard.audit.judge import Judge
from stateguard.audit.places import ONLY_INSTANCE
from stateguard.audit.program import Place, Program
from stateguard.audit.reach import Reach
from stateguard.audit.resolve import Resolver
from stateguard.finding import Certainty, Spot
from stateguard.leak import Severity

CONTENT_OPS = frozenset({"item", "item+", "delitem", "call", "iadd"})
ATTRIBUTE_OPS = frozenset({"attr", "attr+", "delattr"})


@dataclass(slots=True)
class Context:
    """Everything the families may ask."""

    program: Program
    resolver: Resolver
    graph: CallGraph
    effects: Effects
    entries: EntryPoints
    reach: Reach
    judge: Judge
    class_writes: set[tuple[str, str]] = field(default_factory=set)
    """Class attributes (``module:Class``, name) that some function sets; filled when first asked for."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A family's answer: which rule, which object, and the words for it.

    ``target`` is the dotted path, ``label`` the short name in messages, ``what`` completes "``label`` is
    ...".
    """

    rule: str
    target: str
    label: str
    what: str
    defined: Spot | None = None
    certain: bool = True
    numeric: bool = False
    note: str = ""
    fixable: str = ""
    defined_module: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A finding about a declaration, not about a write."""

    rule: str
    target: str
    module: str
    line: int
    column: int
    function: str
    message: str
    severity: Severity
    confidence: Certainty
    note: str = ""
    fixable: str = ""
    end_column: int = 0
    reach_key: str = ""


_REQUEST_LOCALS = frozenset({"ContextVar", "Local", "LocalProxy", "LocalStack", "RequestVar", "scoped"})


def is_request_local(context: Context, place: Place) -> bool:
    """Whether the object gives each request its own: ``ContextVar``, ``LocalProxy``, ``scoped()``."""
    base = place._replace(path="", receiver=None)
    resolver = context.resolver
    names = {o.rpartition(".")[2] for o in resolver.values.outside(base)}
    names |= {k.name for k in resolver.values.classes(base)}
    return bool(names & _REQUEST_LOCALS)


def first_binding(context: Context, place: Place) -> Binding | None:
    """The first assignment of a module variable or class attribute."""
    program = context.program
    if place.kind == "V":
        module = program.modules.get(place.owner)
        rows = module.bindings.get(place.name) if module else None
        return rows[0] if rows else None
    if place.kind == "A":
        owner, _, qual = place.owner.partition(":")
        facts = program.modules[owner].classes.get(qual)
        rows = facts.attrs.get(place.name) if facts else None
        return rows[0] if rows else None
    return None


def defined_at(context: Context, place: Place) -> Spot | None:
    """Where the object is defined."""
    binding = first_binding(context, place)
    owner = place.owner.partition(":")[0]
    module = context.program.modules.get(owner)
    if binding is None or module is None:
        return None
    return Spot(module.path, binding.line)


def step_target(place: Place, write: Write) -> tuple[str, str]:
    """``(dotted path, short label)`` of the changed object: up to its first attribute, items left out."""
    path = place.path
    first = path.find(".")
    suffix = ""
    if first >= 0:
        end = len(path)
        for mark in (".", "[", "(", "!"):
            found = path.find(mark, first + 1)
            if found > 0:
                end = min(end, found)
        suffix = path[first:end]
    elif write.op in ATTRIBUTE_OPS:
        suffix = "." + write.key
    owner = place.owner.replace(":", ".")
    base = f"{owner}.{place.name}" if place.name else owner
    short = place.name or owner.rpartition(".")[2]
    if place.kind == "A":
        short = f"{owner.rpartition('.')[2]}.{place.name}"
    if place.name == ONLY_INSTANCE:
        base, short = owner + ONLY_INSTANCE, owner.rpartition(".")[2] + ONLY_INSTANCE
    return base + suffix, short + suffix


def is_numeric(binding: Binding | None) -> bool:
    """Whether the first value is a number: sums of numbers are statistics."""
    return binding is not None and binding.refs == ("k:num",)


__all__ = [
    "ATTRIBUTE_OPS",
    "CONTENT_OPS",
    "Claim",
    "Context",
    "Declared",
    "SharedWrite",
    "defined_at",
    "first_binding",
    "is_numeric",
    "is_request_local",
    "step_target",
]
