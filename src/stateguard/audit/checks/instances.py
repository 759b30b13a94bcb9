"""SG106: an attribute of a module-level instance changed, from outside or in its own methods."""

from __future__ import annotations

from collections.abc import Iterator

from stateguard.audit.checks.base import (
    ATTRIBUTE_OPS,
    Claim,
    Context,
    defined_at,
    is_request_local,
    step_target,
)
from stateguard.audit.effects import SharedWrite
from stateguard.audit.program import Place
from stateguard.audit.walk.names import CERTAIN_MUTATORS
from stateguard.finding import Spot

_NOT_SHARED = ("logging.getLogger", "unittest.mock")


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim attributes set on a module-level object, and changes of what its attributes hold."""
    place, one = write.place, write.write
    if place.kind in "FB":
        if one.op not in ATTRIBUTE_OPS or place.path or place.key not in context.program.functions:
            return None
        label = f"{place.name}.{one.key}"
        what = "an attribute of the function, one for all requests"
        function = context.program.functions[place.key]
        made_with = bool(one.value) and all(r[:2] in ("f:", "k:") for r in one.value)
        if "." in place.name or (made_with and not one.taint):
            return None  # a wrapper that notes what it was made with on the function it wraps
        spot = Spot(function.module.path, function.facts.line)
        return Claim("SG106", f"{place.owner}.{label}", label, what, spot, defined_module=place.owner)
    if place.kind != "V" or place.path.lstrip("!").startswith("["):
        return None
    if one.op not in ATTRIBUTE_OPS and "." not in place.path:
        return None
    if ".*" in place.path or (one.key == "*" and one.ref[0] == "p"):
        return None  # an attribute by a computed name; a ``__setattr__`` that passes everything on
    base = place._replace(path="", receiver=None)
    outside = context.resolver.values.outside(base)
    if is_request_local(context, base) or any(o.startswith(_NOT_SHARED) for o in outside):
        return None
    known = bool(context.resolver.values.classes(base))
    kind = context.resolver.values.kind(place) if place.path else ""
    if one.op == "call" and one.how not in CERTAIN_MUTATORS and not kind:
        return None
    if one.op == "iadd" and not kind:
        return None
    spot_at = defined_at(context, base)
    if spot_at is None:
        return None
    target, label = step_target(place, one)
    instance = f"an attribute of `{base.name}`, one object for all requests"
    return Claim(
        "SG106",
        target,
        label,
        instance,
        spot_at,
        numeric=_is_number(context, place, one.key),
        certain=known or bool(outside),
        defined_module=place.owner,
    )


def _is_number(context: Context, place: Place, name: str) -> bool:
    """Whether the attribute starts as a number: sums of numbers are statistics."""
    refs = [
        ref
        for klass in context.resolver.values.classes(place)
        for _, facts in context.program.mro(klass.owner, klass.name)
        for method, ref, _ in facts.assigned.get(name, ())
        if method.endswith("__init__")
    ]
    return bool(refs) and all(ref == "k:num" for ref in refs)


def hidden(context: Context, claimed: set[str]) -> Iterator[tuple[Claim, SharedWrite]]:
    """Methods that change ``self`` in classes whose only instances are at module level.

    The calls themselves may be out of sight: through ``app.state``, a container or a framework.
    """
    singletons = _singletons(context)
    for (owner, qual), place in singletons.items():
        for module, facts in context.program.mro(owner, qual):
            for method in facts.methods.values():
                key = f"{module.name}:{method}"
                fn = module.functions[method]
                for effect in context.effects.of(key):
                    if effect.param != fn.self_name or effect.chain:
                        continue
                    if fn.name.startswith("__") and fn.name != "__call__":
                        continue
                    whole = place._replace(path=effect.path)
                    write = SharedWrite(whole, effect.write, effect.function, key, ())
                    found = claim(context, write)
                    if found is not None and found.target not in claimed:
                        yield found, write


def _singletons(context: Context) -> dict[tuple[str, str], Place]:
    """Classes instantiated at module level, exactly once, and nowhere else."""
    made: dict[tuple[str, str], list[str]] = {}
    for key, function in context.program.functions.items():
        for call in function.facts.calls:
            if call.callee[0] in "gmdf" and not call.callee.endswith(")"):
                for place in context.resolver.resolve(function.module, function.facts, call.callee):
                    if place.kind == "C":
                        made.setdefault((place.owner, place.name), []).append(key)
    found: dict[tuple[str, str], Place] = {}
    for module in context.program.modules.values():
        for name in module.bindings:
            place = Place("V", module.name, name)
            for klass in context.resolver.values.classes(place):
                where = made.get((klass.owner, klass.name), [])
                if len(where) == 1 and where[0].endswith("<module>"):
                    found.setdefault((klass.owner, klass.name), place)
    return found
