"""SG104: a class attribute changed through ``self``, ``cls`` or the class."""

from __future__ import annotations

from stateguard.audit.checks.base import (
    ATTRIBUTE_OPS,
    CONTENT_OPS,
    Claim,
    Context,
    defined_at,
    first_binding,
    is_numeric,
    step_target,
)
from stateguard.audit.effects import SharedWrite
from stateguard.audit.facts import MODULE_BODY
from stateguard.audit.places import ONLY_INSTANCE
from stateguard.audit.program import Place
from stateguard.audit.walk.names import CERTAIN_MUTATORS


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim content changes of class attributes, and attributes set on a class."""
    place, one = write.place, write.write
    if place.kind in "CA" and _made_per_request(context, place):
        return None
    if place.kind == "C" and one.op in ATTRIBUTE_OPS:
        attribute = Place("A", place.key, one.key)
        return _claim(context, attribute, write, "shared by all instances and all requests")
    if place.kind != "A" or not _has_value(context, place):
        return None
    base = place._replace(path="", receiver=None)
    kind = context.resolver.values.kind(place if "." in place.path else base)
    if one.op in CONTENT_OPS:
        if one.op == "call" and not kind and (one.how not in CERTAIN_MUTATORS or not _known(context, base)):
            return None
        if one.op == "iadd" and not kind:
            return None
        if not kind and not _known(context, base):
            return None
        words = kind or "object"
        of = place if place.path.startswith(".") else base
        return _claim(context, of, write, f"one {words} for all instances and all requests")
    if one.op in ATTRIBUTE_OPS and context.resolver.values.classes(place):
        return _claim(context, place, write, "one object for all instances and all requests")
    return None


def _has_value(context: Context, place: Place) -> bool:
    """Whether the class itself ever holds an object there, not only ``None`` for instances to replace."""
    if place.name == ONLY_INSTANCE:
        return True
    owner, _, qual = place.owner.partition(":")
    facts = context.program.modules[owner].classes.get(qual)
    rows = facts.attrs.get(place.name, ()) if facts else ()
    if any(binding.refs != ("k:none",) for binding in rows) or (facts and "__new__" in facts.methods):
        return True
    if not context.class_writes:
        context.class_writes.update(
            (w.place.key, w.write.key) for w in context.effects.shared if w.place.kind == "C"
        )
    return (place.owner, place.name) in context.class_writes


def _made_per_request(context: Context, place: Place) -> bool:
    """Whether the class statement is inside a function that requests run: then each has its own."""
    owner, _, qual = (place.key if place.kind == "C" else place.owner).partition(":")
    facts = context.program.modules[owner].classes.get(qual)
    if facts is None or facts.parent == MODULE_BODY:
        return False
    return context.reach.status(f"{owner}:{facts.parent}") == "request"


def _known(context: Context, place: Place) -> bool:
    """Whether the class body itself makes the object, out of classes of the program."""
    return bool(context.resolver.values.classes(place))


def _claim(context: Context, place: Place, write: SharedWrite, what: str) -> Claim:
    base = place._replace(path="")
    target, label = step_target(
        place, write.write if write.place.kind != "C" else write.write._replace(op="bind")
    )
    binding = first_binding(context, base)
    return Claim(
        "SG104",
        target,
        label,
        what,
        defined_at(context, base),
        numeric=is_numeric(binding),
        defined_module=place.owner.partition(":")[0],
    )
