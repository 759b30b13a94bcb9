"""SG111: a ``threading.local`` in async code, or one that is set and never cleared."""

from __future__ import annotations

from stateguard.audit.checks.base import ATTRIBUTE_OPS, CONTENT_OPS, Claim, Context, defined_at, step_target
from stateguard.audit.effects import SharedWrite
from stateguard.audit.program import Place

_LOCALS = ("threading.local", "_thread._local", "_threading_local.local")


def is_thread_local(context: Context, place: Place) -> bool:
    """Whether the module variable is a ``threading.local`` or an instance of a subclass of it."""
    base = place._replace(path="", receiver=None)
    if any(o in _LOCALS for o in context.resolver.values.outside(base)):
        return True
    return any(
        set(context.program.external_bases(k.owner, k.name)) & set(_LOCALS)
        for k in context.resolver.values.classes(base)
    )


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim attributes set on a thread-local where that outlives, or mixes, requests."""
    place, one = write.place, write.write
    if place.kind != "V" or one.op not in ATTRIBUTE_OPS | CONTENT_OPS or not is_thread_local(context, place):
        return None
    if one.op == "call" and not place.path:
        return None
    target, label = step_target(place, one)
    base = place._replace(path="", receiver=None)
    if not one.taint:
        return Claim(
            "", target, label, "", None
        )  # made here, not taken from a caller: it belongs to the thread
    if _in_async(context, write):
        what = "one value per thread, and async code serves all requests on one thread"
    elif one.taint and not _cleared(context, place, target):
        what = "a value of the worker thread that nothing clears: the thread's next request finds it"
    else:  # cleared, or made here and not taken from a caller: then it belongs to the thread
        return Claim("", target, label, "", None)
    return Claim("SG111", target, label, what, defined_at(context, base), defined_module=place.owner)


def _in_async(context: Context, write: SharedWrite) -> bool:
    if context.program.functions[write.function].facts.is_async:
        return True
    trail = context.reach.trail(write.root)
    return any(
        context.program.functions[key].facts.is_async for key in trail if key in context.program.functions
    )


def _cleared(context: Context, place: Place, target: str) -> bool:
    """Whether the attribute is deleted or set to ``None`` somewhere."""
    for other in context.effects.shared:
        if other.place.kind != "V" or other.place.name != place.name or other.place.owner != place.owner:
            continue
        one = other.write
        found, _ = step_target(other.place, one)
        if found == target and (one.op == "delattr" or one.value == ("k:none",)):
            return True
        if one.op == "call" and one.how == "clear" and "__dict__" in other.place.path:
            return True
    return False
