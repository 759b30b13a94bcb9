"""SG107: state of middleware and application objects written while a request is served."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stateguard.audit.checks.base import ATTRIBUTE_OPS, CONTENT_OPS, Claim, Context, defined_at
from stateguard.audit.effects import CONSTRUCTORS, SharedWrite
from stateguard.audit.program import Place
from stateguard.finding import Spot

_APPLICATIONS = frozenset(
    {
        "FastAPI",
        "Starlette",
        "Flask",
        "Quart",
        "Sanic",
        "Application",
        "Bottle",
        "Litestar",
        "Falcon",
        "FastMCP",
    }
)
HANDLER = "handler object"
"""What an object that serves requests is called when it is no middleware."""
_APP_PATH = re.compile(r"^\.(?:app|application)(?=[.\[]|$)")
_STATE = re.compile(r"^(\.state|\.config|\.extra|\.ctx|\.extensions|\[\])")


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim what is set on a module-level application: ``app.state.user = ...``."""
    place, one = write.place, write.write
    if (
        place.kind == "E"
        and place.owner.startswith("flask.current_app")
        and (one.op in ATTRIBUTE_OPS | CONTENT_OPS)
    ):
        rest = place.owner.removeprefix("flask.")
        path = _without_items(place.path)
        label = f"{rest}{path}.{one.key}" if one.op in ATTRIBUTE_OPS else f"{rest}{path}"
        return Claim("SG107", "flask." + label, label, "state of the application, one for all requests")
    if place.kind not in "VL":
        return None
    base = place._replace(path="", receiver=None)
    if not any(o.rpartition(".")[2] in _APPLICATIONS for o in context.resolver.values.outside(base)):
        return None
    if not (place.path or one.op in ATTRIBUTE_OPS or one.op == "item"):
        return None
    if one.op == "call" and not _STATE.match(place.path):
        return None
    label = place.name + _without_items(place.path) + (f".{one.key}" if one.op in ATTRIBUTE_OPS else "")
    owner = place.owner.replace(":", ".")
    target = f"{owner}.{label}"
    what = "state of the application, one for all requests"
    return Claim("SG107", target, label, what, defined_at(context, base), defined_module=owner)


def _without_items(path: str) -> str:
    return path.replace("![]", "").replace("[]", "")


def per_call(context: Context) -> Iterator[tuple[Claim, SharedWrite]]:
    """What middleware methods write to ``self``, and handlers to ``request.app``."""
    seen: set[tuple[str, int, int]] = set()
    for key in sorted(context.entries.requests):
        function = context.program.functions[key]
        own = function.facts.self_name
        owner = f"{function.module.name}:{function.facts.owner}"
        lasting = context.entries.middleware | context.entries.resources
        if own and owner in lasting and function.facts.name not in CONSTRUCTORS:
            for effect in context.effects.of(key):
                if effect.param != own:
                    continue
                place = Place("P", key, own, effect.path)
                write = SharedWrite(place, effect.write, effect.function, key, effect.chain)
                found = _own_state(context, write, owner)
                if found is not None:
                    yield found, write
    for key, function in context.program.functions.items():
        if not function.facts.writes:
            continue
        own = function.facts.self_name
        for effect in context.effects.of(key):
            if effect.chain:
                continue
            path = effect.path
            match = _APP_PATH.match(path)
            if match is None or (effect.param == own and context.reach.status(key) != "request"):
                continue
            one = effect.write
            rest = path[match.end() :]
            if not _STATE.match(rest) and one.op != "item":
                continue
            mark = (effect.function, one.line, one.column)
            if mark in seen:
                continue
            seen.add(mark)
            label = (
                "app" + _without_items(rest) + (f".{one.key}" if one.op in ATTRIBUTE_OPS else f"[{one.key}]")
            )
            what = "state of the application, one for all requests"
            write = SharedWrite(Place("P", key, effect.param, path), one, effect.function, key, ())
            yield Claim("SG107", label, label, what, certain=True), write


def _own_state(context: Context, write: SharedWrite, owner: str) -> Claim | None:
    place, one = write.place, write.write
    path = place.path
    module_name, _, qual = owner.partition(":")
    if one.op in ATTRIBUTE_OPS and not path:
        name = one.key
    elif path.startswith("."):
        name = re.split(r"[.\[(]", path[1:])[0]
        if "." in path[1:] and one.op not in ATTRIBUTE_OPS:
            return None
    else:
        return None
    if name in ("app", "application", "get_response") and path.startswith("." + name):
        return None
    label = f"{qual.rpartition('.')[2]}.{name}"
    spot = _assigned_at(context, module_name, qual, name)
    noun = "middleware object" if owner in context.entries.middleware else HANDLER
    what = f"an attribute of one {noun} that serves all requests"
    return Claim("SG107", f"{module_name}.{qual}.{name}", label, what, spot, defined_module=module_name)


def _assigned_at(context: Context, module_name: str, qual: str, name: str) -> Spot | None:
    for module, facts in context.program.mro(module_name, qual):
        for method, _, line in facts.assigned.get(name, ()):
            if method.rpartition(".")[2] in CONSTRUCTORS:
                return Spot(module.path, line)
        if name in facts.attrs:
            return Spot(module.path, facts.attrs[name][0].line)
    return None
