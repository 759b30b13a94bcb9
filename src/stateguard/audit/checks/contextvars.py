"""SG108: a ``ContextVar`` whose default is one mutable object."""

from __future__ import annotations

from collections.abc import Iterator

from stateguard.audit.checks.base import CONTENT_OPS, Claim, Context, Declared, defined_at
from stateguard.audit.effects import SharedWrite
from stateguard.audit.facts import MODULE_BODY
from stateguard.audit.program import Place
from stateguard.audit.walk.names import container_kind

_WHAT = "a `ContextVar` whose default is one object for all requests"


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim changes of what ``.get()`` returned."""
    place, one = write.place, write.write
    if place.kind != "X" or one.op not in CONTENT_OPS | {"attr", "attr+"}:
        return None
    if place.owner not in context.program.modules or not _default(context, place.owner, place.name):
        return None
    base = Place("V", place.owner, place.name)
    return Claim(
        "SG108",
        f"{place.owner}.{place.name}",
        place.name,
        _WHAT,
        defined_at(context, base),
        fixable="unsafe",
        defined_module=place.owner,
    )


def _default(context: Context, owner: str, name: str) -> str:
    """The kind of the variable's mutable default, or an empty string."""
    module = context.program.modules[owner]
    body = module.functions[MODULE_BODY]
    for binding in module.bindings.get(name, ()):
        for ref in binding.refs:
            if ref.endswith(")"):
                call = body.calls[int(ref[ref.rindex("(") + 1 : -1])]
                refs = call.kwargs.get("default", ())
                kind = container_kind(refs)
                if kind:
                    return kind
                for one in refs:
                    if any(p.kind == "I" for p in context.resolver.resolve(module, body, one)):
                        return "object"
    return ""


def declared(context: Context, claimed: set[str]) -> Iterator[Declared]:
    """Mutable defaults that nobody is seen to change yet."""
    for module in context.program.modules.values():
        for name, rows in module.bindings.items():
            if f"{module.name}.{name}" in claimed or not any(r.endswith(")") for b in rows for r in b.refs):
                continue
            place = Place("V", module.name, name)
            outside = context.resolver.values.outside(place)
            if not any(o in ("contextvars.ContextVar", "ContextVar") for o in outside):
                continue
            kind = _default(context, module.name, name)
            if kind in ("", "object"):
                continue
            yield Declared(
                "SG108",
                f"{module.name}.{name}",
                module.name,
                rows[0].line,
                rows[0].column,
                "<module>",
                f"`{name}` is {_WHAT}: one {kind}, given to every request that did not set it",
                "high",
                "medium",
                fixable="unsafe",
                end_column=rows[0].column + len(name.encode()),
            )
