"""SG112: a variable of an application factory or a decorator that the functions it made share."""

from __future__ import annotations

from stateguard.audit.checks.base import ATTRIBUTE_OPS, CONTENT_OPS, Claim, Context, is_request_local
from stateguard.audit.effects import SharedWrite
from stateguard.audit.walk.names import CERTAIN_MUTATORS
from stateguard.finding import Spot


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim changes of a captured local where the outer function runs once, the inner one per request."""
    place, one = write.place, write.write
    if place.kind != "L" or ("." in place.path and one.op == "call" and one.how not in CERTAIN_MUTATORS):
        return None
    if is_request_local(context, place):
        return None
    outer = context.program.functions[place.owner]
    if not _runs_once(context, place.owner, write.root):
        return None
    base = place._replace(path="", receiver=None)
    kind = context.resolver.values.kind(base)
    if one.op in CONTENT_OPS and not place.path and not kind:
        return None
    if one.op == "iadd" or (one.op == "call" and place.path and one.how not in CERTAIN_MUTATORS):
        return None
    if one.op in ATTRIBUTE_OPS and not context.resolver.values.made_from(base):
        return None
    if place.name in outer.facts.params:
        return None
    suffix = f".{one.key}" if one.op in ATTRIBUTE_OPS and not place.path else ""
    label = place.name + suffix
    what = f"a variable of `{outer.facts.name}`, which runs once: all requests share it"
    line = outer.facts.captured_at.get(place.name, outer.facts.line)
    return Claim(
        "SG112",
        f"{place.owner.replace(':', '.')}.{label}",
        label,
        what,
        Spot(outer.module.path, line),
        defined_module=outer.module.name,
        fixable="unsafe" if kind in ("list", "dict", "set") and not place.path else "",
    )


def _runs_once(context: Context, outer: str, inner: str) -> bool:
    """Whether ``outer`` runs at start-up and ``inner``, made by it, serves requests."""
    reach = context.reach
    status = reach.status(outer)
    if inner in context.entries.requests:
        return outer not in reach.labels or status == "startup"
    if status == "request":
        return False
    if status == "startup":
        return reach.status(inner) != "startup"
    # Nobody is seen to call the factory: only what an entry point reaches counts.
    if inner not in reach.labels:
        return False
    prefix = outer + "."
    return any(key.startswith(prefix) and key in context.entries.requests for key in reach.trail(inner))
