"""SG102: a global rebound by a function. SG103: an attribute of another module rebound."""

from __future__ import annotations

from stateguard.audit.checks.base import (
    ATTRIBUTE_OPS,
    Claim,
    Context,
    defined_at,
    first_binding,
    is_numeric,
)
from stateguard.audit.effects import SharedWrite
from stateguard.audit.program import Place


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim ``global X`` with an assignment, ``module.X = ...`` and ``globals()["X"] = ...``."""
    place, one = write.place, write.write
    if place.kind == "V" and one.op in ("bind", "bind+", "unbind"):
        return _global(context, place, place.owner)
    if place.kind == "E" and place.owner == "builtins.globals" and place.path == "()":
        module = write.function.partition(":")[0]
        if one.op in ("item", "item+") and len(one.key) > 2:
            return _global(context, Place("V", module, one.key.strip("'\"")), module)
        if one.op in ("item", "item+") or (one.op == "call" and one.how in ("update", "setdefault")):
            what = "the names of this module, the same for all requests"
            return Claim("SG102", f"{module}.*", "globals()", what, certain=True)
    if place.kind == "M" and one.op in ATTRIBUTE_OPS:
        own = write.function.partition(":")[0] == place.owner
        target = Place("V", place.owner, one.key)
        if own:
            return _global(context, target, place.owner)
        label = f"{place.owner.rpartition('.')[2]}.{one.key}"
        return Claim(
            "SG103",
            f"{place.owner}.{one.key}",
            label,
            "a variable of another module, one for all requests",
            defined_at(context, target),
            numeric=is_numeric(first_binding(context, target)),
            defined_module=place.owner,
        )
    return None


def _global(context: Context, place: Place, module: str) -> Claim:
    return Claim(
        "SG102",
        f"{module}.{place.name}",
        place.name,
        "one variable for all requests",
        defined_at(context, place),
        numeric=is_numeric(first_binding(context, place)),
        defined_module=module,
    )
