"""SG109: a cached function that returns something mutable. SG110: one that reads the current request."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from stateguard.audit.checks.base import CONTENT_OPS, Claim, Context, Declared
from stateguard.audit.decorated import is_cached
from stateguard.audit.effects import SharedWrite
from stateguard.audit.program import Function
from stateguard.audit.walk.names import ANNOTATION_KINDS, CERTAIN_MUTATORS, container_kind
from stateguard.finding import Spot

_REQUEST_SOURCES = (
    "flask.",
    "quart.",
    "flask_login.",
    "bottle.",
    "sanic.",
    "starlette_context.",
    "django_currentuser.",
)
_READERS = frozenset(
    {"len", "str", "repr", "list", "dict", "set", "tuple", "sorted", "frozenset", "iter", "enumerate", "any",
     "all", "sum", "min", "max", "zip", "map", "filter", "reversed", "bool", "isinstance", "join", "update",
     "extend", "next", "print", "dumps"}
)  # fmt: skip
"""Callables that read what they are given, or copy from it."""
MAX_DEPTH = 3


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim changes of an object that a cached function returned."""
    place, one = write.place, write.write
    if place.kind != "K":
        return None
    function = context.program.functions[place.key]
    kind = container_kind(tuple(function.facts.returns)) or _annotated_kind(function)
    if one.op in CONTENT_OPS:
        if one.op == "iadd" and not kind:
            return None
        if one.op == "call" and one.how not in CERTAIN_MUTATORS and not (kind and not place.path):
            return None
        if kind == "" and not place.path and not context.resolver.returns(place.key) and one.op != "item":
            return None
    name = function.facts.name
    what = f"one {kind or 'object'} that the cache of `{name}` hands to every caller"
    return Claim(
        "SG109",
        f"{place.owner}.{place.name}()",
        f"{name}()",
        what,
        Spot(function.module.path, function.facts.line),
        certain=bool(kind),
        fixable="",
        defined_module=place.owner,
    )


def _annotated_kind(function: Function) -> str:
    return ANNOTATION_KINDS.get(function.facts.returns_annotation.rpartition(".")[2], "")


def declared(context: Context, claimed: set[str]) -> Iterator[Declared]:
    """Cached functions that make a container nobody is seen to change, or that read the request."""
    for function in context.program.functions.values():
        facts = function.facts
        if not facts.decorators or not is_cached(facts):
            continue
        target = f"{function.module.name}.{facts.qual}"
        source = _reads_request(context, function)
        if source:
            yield Declared(
                "SG110",
                target,
                function.module.name,
                facts.line,
                facts.column,
                facts.qual,
                f"the cache of `{facts.name}` is keyed by its arguments, and its result also depends "
                f"on `{source}`",
                "critical" if context.reach.status(function.key) == "request" else "high",
                "high" if context.reach.status(function.key) == "request" else "medium",
                note="the first caller's answer is given to everybody who calls with the same arguments",
                reach_key=function.key,
            )
        kind = container_kind(tuple(facts.returns))
        served = not context.reach.has_entries or context.reach.status(function.key) == "request"
        if kind and f"{target}()" not in claimed and not facts.is_generator:
            yield Declared(
                "SG109",
                f"{target}()",
                function.module.name,
                facts.line,
                facts.column,
                facts.qual,
                f"`{facts.name}` is cached and returns a {kind}: every caller gets the same one",
                "low" if served and _handed_on(context, function) else "note",
                "medium",
                note="no caller was seen to change it",
                reach_key=function.key,
            )


def _handed_on(context: Context, function: Function) -> bool:
    """Whether somebody out of sight gets the cached object: no caller is known, or one passes it on."""
    sites = [s for s in context.graph.callers.get(function.key, ()) if s.call >= 0]
    if not sites:
        return True
    for site in sites:
        caller = context.program.functions[site.caller].facts
        result = f"{caller.calls[site.call].callee}({site.call})"
        if result in caller.returns or any(result in w.value for w in caller.writes):
            return True
        for call in caller.calls:
            name = call.callee.replace(":", ".").rpartition(".")[2]
            if name not in _READERS and any(result in refs for refs in (*call.args, *call.kwargs.values())):
                return True
    return False


def _reads_request(context: Context, start: Function) -> str:
    """What the function, or one it calls, reads of the current request: ``session``, ``USER.get()``."""
    queue = deque([(start.key, 0)])
    seen = {start.key}
    while queue:
        key, depth = queue.popleft()
        function = context.program.functions[key]
        for name in function.facts.context_reads:
            for place in context.resolver.resolve(function.module, function.facts, "g:" + name):
                if place.kind == "E" and place.owner.startswith(_REQUEST_SOURCES) and name != "current_app":
                    return name
        for call in function.facts.calls:
            if call.callee.endswith(".get") and call.callee[0] in "gmf":
                base = call.callee[:-4]
                for place in context.resolver.resolve(function.module, function.facts, base):
                    if place.kind == "V" and any(
                        o in ("contextvars.ContextVar", "ContextVar")
                        for o in context.resolver.values.outside(place)
                    ):
                        return f"{place.name}.get()"
        if depth < MAX_DEPTH:
            for site in context.graph.calls.get(key, ()):
                if site.callee not in seen and site.call >= 0:
                    seen.add(site.callee)
                    queue.append((site.callee, depth + 1))
    return ""
