"""SG101: a module-level container changed by function code. SG114: one that nothing changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stateguard.audit.checks.base import (
    ATTRIBUTE_OPS,
    CONTENT_OPS,
    Claim,
    Context,
    Declared,
    defined_at,
    first_binding,
    is_request_local,
    step_target,
)
from stateguard.audit.effects import SharedWrite
from stateguard.audit.facts import Binding, Write
from stateguard.audit.program import Place
from stateguard.audit.walk.names import CERTAIN_MUTATORS

_WORDS = {"weak": "weak container", "dict": "dict", "list": "list", "set": "set"}


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim a change of content of a module-level container, or of something inside it."""
    place, one = write.place, write.write
    if place.kind != "V" or place.path.startswith("."):
        return None
    if one.op not in CONTENT_OPS and not (place.path and one.op in ATTRIBUTE_OPS):
        return None
    base = place._replace(path="", receiver=None)
    if is_request_local(context, base):
        return None
    kind = context.resolver.values.kind(base)
    outside = context.resolver.values.outside(base)
    if one.op == "call" and not place.path and context.resolver.values.classes(base):
        return None  # a container class of the program: its own methods say what changes
    if not kind:
        if place.owner not in context.program.modules or first_binding(context, base) is None:
            return None
        if one.op == "iadd" or (one.op == "call" and (one.how not in CERTAIN_MUTATORS or outside)):
            return None
    elif one.op == "call" and kind == "dict" and one.how in ("append", "add", "write") and not place.path:
        return None
    if one.op == "call" and place.path and one.how not in CERTAIN_MUTATORS and not kind:
        return None
    if kind and one.op == "call" and one.how == "write":
        return None
    if one.op == "iadd" and place.path and "n:list" not in one.value:
        return None  # a member that may as well be a string, which ``+=`` makes anew
    target, label = step_target(base, one)
    what = f"one {_WORDS.get(kind, kind or 'object')} for all requests"
    member = _member_label(place, one)
    if member:
        label, what = member, f"held by {what}"
    binding = first_binding(context, base)
    replaceable = (
        binding is not None
        and binding.alone
        and _scopable(binding.refs)
        and len(_bindings(context, base)) == 1
    )
    return Claim(
        "SG101",
        target,
        label,
        what,
        defined_at(context, base),
        certain=bool(kind),
        fixable="unsafe" if replaceable else "",
        defined_module=place.owner,
    )


def _member_label(place: Place, write: Write) -> str:
    """``AGENTS[...].messages`` for a change of an attribute of a member, empty for the container itself."""
    steps = place.path.replace("![]", "[]")
    head, dot, rest = steps.partition(".")
    if not dot and write.op not in ATTRIBUTE_OPS:
        return ""
    name = re.split(r"[.\[(]", rest)[0] if dot else write.key
    return f"{place.name}{head.replace('[]', '[...]')}.{name}"


def _bindings(context: Context, place: Place) -> list[Binding]:
    module = context.program.modules[place.owner]
    return list(module.bindings.get(place.name, ()))


def _scopable(refs: tuple[str, ...]) -> bool:
    return len(refs) == 1 and (refs[0] in ("n:list", "n:dict", "n:set") or refs[0].startswith("g:"))


def declared(context: Context, changed: set[str]) -> Iterator[Declared]:
    """SG114: module-level containers that no code changes."""
    for module in context.program.modules.values():
        for name, rows in module.bindings.items():
            binding = rows[0]
            target = f"{module.name}.{name}"
            if (
                len(rows) != 1
                or not binding.alone
                or binding.kind not in ("list", "dict", "set")
                or target in changed
            ):
                continue
            if name.startswith("__") or binding.refs[0] not in ("n:list", "n:dict", "n:set"):
                continue
            yield Declared(
                "SG114",
                target,
                module.name,
                binding.line,
                binding.column,
                "<module>",
                f"nothing changes `{name}`: declared immutable, nothing can",
                "note",
                "high",
                fixable="safe" if name.isupper() else "unsafe",
                end_column=binding.column + len(name.encode()),
            )
