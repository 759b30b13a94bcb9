"""SG105: a mutable default argument that is changed, stored or returned."""

from __future__ import annotations

from collections.abc import Iterator

from stateguard.audit.checks.base import CONTENT_OPS, Claim, Context
from stateguard.audit.effects import SharedWrite
from stateguard.audit.facts import Write
from stateguard.audit.program import Place
from stateguard.audit.walk.names import CERTAIN_MUTATORS
from stateguard.finding import Spot


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim changes of a parameter whose default is mutable."""
    place, one = write.place, write.write
    if place.kind != "P":
        return None
    function = context.program.functions[place.owner]
    default = function.facts.defaults.get(place.name)
    if default is None or default.depends:
        return None
    if default.kind:
        if one.op not in CONTENT_OPS or "." in place.path:
            return None
    else:
        scope = function.module.functions[function.facts.defined_in]
        made = any(
            p.kind == "I"
            for ref in default.refs
            for p in context.resolver.resolve(function.module, scope, ref)
        )
        if not made or (one.op == "call" and one.how not in CERTAIN_MUTATORS):
            return None
        if one.op in CONTENT_OPS and not place.path and one.op != "item":
            return None
    return make(context, place)


def make(context: Context, place: Place) -> Claim:
    """The claim for a parameter's default."""
    function = context.program.functions[place.owner]
    default = function.facts.defaults[place.name]
    dotted = place.owner.replace(":", ".")
    what = f"one {default.kind or 'object'}, made when `{function.facts.name}` was defined"
    return Claim(
        "SG105",
        f"{dotted}({place.name})",
        place.name,
        what,
        Spot(function.module.path, default.line),
        fixable=default.repair if default.kind in ("list", "dict", "set") and len(default.refs) == 1 else "",
        defined_module=function.module.name,
    )


def escapes(context: Context) -> Iterator[tuple[Claim, SharedWrite]]:
    """Defaults that are stored or returned: whoever gets them can change them for everybody."""
    for function in context.program.functions.values():
        facts = function.facts
        names = {f"p:{n}": n for n, d in facts.defaults.items() if d.kind and not d.depends}
        if not names:
            continue
        for write in facts.writes:
            if write.op not in ("attr", "item", "bind") and not (
                write.op == "call" and write.how in CERTAIN_MUTATORS
            ):
                continue
            for ref in write.value:
                if ref in names and write.ref != ref:
                    place = Place("P", function.key, names[ref])
                    stored = write._replace(op="stored", guard="", flags="", taint=())
                    yield make(context, place), SharedWrite(place, stored, function.key, function.key, ())
        for ref in facts.returns:
            if ref in names and not facts.is_generator:
                default = facts.defaults[names[ref]]
                place = Place("P", function.key, names[ref])
                returned = _returned(default.line, default.column, names[ref])
                yield make(context, place), SharedWrite(place, returned, function.key, function.key, ())


def _returned(line: int, column: int, name: str) -> Write:
    return Write("p:" + name, "returned", line, column, line, column + 2, "", "", (), (), "", "", "")
