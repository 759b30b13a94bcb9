"""From claims to findings: group by object, judge the writes, add source lines and words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stateguard.audit.checks import (
    caches,
    classattrs,
    clients,
    closures,
    containers,
    contextvars,
    defaults,
    instances,
    middleware,
    rebinding,
    threadlocals,
)
from stateguard.audit.checks.base import Claim, Context, Declared
from stateguard.audit.effects import SharedWrite
from stateguard.audit.judge import MILD_OPS, Verdict
from stateguard.audit.sources import Sources
from stateguard.audit.wording import default_replacement, does, function_name, scoped_replacement
from stateguard.finding import Finding, Spot, WriteSite, sort_key
from stateguard.leak import SEVERITIES
from stateguard.rules import RULES

_FAMILIES = (
    rebinding.claim,
    threadlocals.claim,
    contextvars.claim,
    caches.claim,
    middleware.claim,
    clients.claim,
    containers.claim,
    classattrs.claim,
    defaults.claim,
    closures.claim,
    instances.claim,
)
MANY_INSTANCES = 3
"""Instances of one class from which they are reported together."""
MANY_ATTRIBUTES = 4
"""Attributes of one object, set by one function, from which they are reported together."""
MAX_WRITES = 50
"""Write sites listed in one finding."""


@dataclass(slots=True)
class _Group:
    claim: Claim
    writes: list[SharedWrite]


def findings(context: Context, sources: Sources) -> list[Finding]:
    """Every finding of the program, all severities, in the order of files and lines."""
    groups: dict[tuple[str, str], _Group] = {}

    def add(claim: Claim, write: SharedWrite) -> None:
        group = groups.setdefault((claim.rule, claim.target), _Group(claim, []))
        group.writes.append(write)

    for write in context.effects.shared:
        for family in _FAMILIES:
            claim = family(context, write)
            if claim is not None:
                if claim.rule:
                    add(claim, write)
                break
    told = {(w.function, w.write.line, w.write.column) for group in groups.values() for w in group.writes}
    for source in (defaults.escapes(context), middleware.per_call(context), clients.setters(context)):
        for claim, write in source:
            # What a handler object was given has a name of its own, and is reported under that.
            given = middleware.HANDLER in claim.what
            if not given or (write.function, write.write.line, write.write.column) not in told:
                add(claim, write)
    claimed = {target for _, target in groups}
    for claim, write in list(instances.hidden(context, claimed)):
        add(claim, write)
    groups = _merged(groups)
    found = [one for group in groups.values() if (one := _finding(context, sources, group)) is not None]
    reported = {(f.rule, f.target) for f in found}
    found.extend(
        _declared(context, sources, contextvars.declared(context, {t for r, t in reported if r == "SG108"}))
    )
    found.extend(
        _declared(context, sources, caches.declared(context, {t for r, t in reported if r == "SG109"}))
    )
    changed = claimed | {f.target for f in found}
    found.extend(_declared(context, sources, containers.declared(context, changed)))
    return sorted(found, key=sort_key)


def _merged(groups: dict[tuple[str, str], _Group]) -> dict[tuple[str, str], _Group]:
    """One finding for a method that changes many module-level instances of one class."""
    by_lines: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for key, group in groups.items():
        if group.claim.rule == "SG106":
            lines = tuple(sorted({(w.function, w.write.line, w.write.column) for w in group.writes}))
            by_lines.setdefault(lines, []).append(key)
    kept = dict(groups)
    for keys in by_lines.values():
        if len(keys) < MANY_INSTANCES:
            continue
        first = groups[keys[0]]
        names = ", ".join(f"`{groups[key].claim.label.partition('.')[0]}`" for key in keys[:2])
        what = f"an attribute of {len(keys)} module-level objects ({names} ...), each one for all requests"
        writes = [write for key in keys for write in groups[key].writes]
        for key in keys:
            del kept[key]
        kept[keys[0]] = _Group(replace(first.claim, what=what), writes)
    return _merged_attributes(kept)


def _merged_attributes(groups: dict[tuple[str, str], _Group]) -> dict[tuple[str, str], _Group]:
    """One finding for a function that sets many attributes of one module-level object."""
    by_function: dict[tuple[str, frozenset[str]], list[tuple[str, str]]] = {}
    for key, group in groups.items():
        if group.claim.rule == "SG106":
            owner = group.claim.target.rpartition(".")[0]
            functions = frozenset(w.function for w in group.writes)
            by_function.setdefault((owner, functions), []).append(key)
    kept = dict(groups)
    for (owner, _), keys in by_function.items():
        if len(keys) < MANY_ATTRIBUTES:
            continue
        claim = groups[keys[0]].claim
        names = [groups[key].claim.label.rpartition(".")[2] for key in keys]
        shown = ", ".join(f"`{name}`" for name in names[:3])
        what = f"one object for all requests, and {len(names)} of its attributes change ({shown} ...)"
        writes = [write for key in keys for write in groups[key].writes]
        for key in keys:
            del kept[key]
        label = claim.label.rpartition(".")[0]
        kept[claim.rule, owner] = _Group(replace(claim, target=owner, label=label, what=what), writes)
    return kept


def _finding(context: Context, sources: Sources, group: _Group) -> Finding | None:
    claim = group.claim
    writes = [w for w in _distinct(group.writes) if context.judge.status(w) != "startup"]
    if not writes:
        return None
    changes = [w for w in writes if w.write.op not in MILD_OPS]
    pairs = list(zip(changes, context.judge.verdicts(changes, claim.numeric), strict=True))
    if all(verdict.severity == "note" for _, verdict in pairs):
        # That a default is also stored or returned adds nothing once it is seen to change for worse.
        handed = [w for w in writes if w.write.op in MILD_OPS]
        pairs += zip(handed, context.judge.verdicts(handed, claim.numeric), strict=True)
    pairs.sort(key=lambda pair: _order(context, pair))
    sites = tuple(_site(context, sources, write, verdict) for write, verdict in pairs[:MAX_WRITES])
    write, verdict = pairs[0]
    site = sites[0]
    owner = context.program.functions[write.function]
    labels, trail = _reach(context, write)
    name = function_name(owner.facts.qual)
    inner = "[]" in write.place.path and claim.rule in ("SG101", "SG104", "SG105", "SG112")
    inner = inner and "[...]" not in claim.label  # the label says what inside it
    message = f"`{claim.label}` is {claim.what}; `{name}` {does(write.write, inner)}"
    defined_source = sources.line(claim.defined.file, claim.defined.line).strip() if claim.defined else ""
    return Finding(
        rule=claim.rule,
        name=RULES[claim.rule].name,
        file=site.file,
        line=site.line,
        column=site.column,
        end_line=site.end_line,
        end_column=site.end_column,
        function=owner.facts.qual,
        message=message,
        severity=verdict.severity,
        confidence=context.judge.confidence(verdict, claim.certain),
        target=claim.target,
        defined_at=claim.defined,
        defined_source=defined_source,
        writes=sites,
        reachable_from=labels,
        trail=trail,
        notes=_notes(context, claim, write, verdict),
        help=RULES[claim.rule].fix,
        replacement=_replacement(claim, defined_source),
        fixable=_repairable(claim.fixable, claim.defined.file if claim.defined else ""),
        cell=sources.cell(site.file, write.write.line),
        frame=sources.frame(site.file, write.write.line, write.write.end_line),
    )


def _distinct(writes: list[SharedWrite]) -> Iterable[SharedWrite]:
    """One entry per line of code; the shortest chain to it is kept."""
    best: dict[tuple[str, int, int], SharedWrite] = {}
    for write in writes:
        key = (write.function, write.write.line, write.write.column)
        other = best.get(key)
        if other is None or len(write.chain) < len(other.chain):
            best[key] = write
    return best.values()


def _order(context: Context, pair: tuple[SharedWrite, Verdict]) -> tuple[object, ...]:
    write, verdict = pair
    function = context.program.functions[write.function]
    mild = write.write.op in MILD_OPS
    return (
        -SEVERITIES.index(verdict.severity),
        verdict.status != "request",
        mild,
        function.module.path,
        write.write.line,
        write.write.column,
    )


def _site(context: Context, sources: Sources, write: SharedWrite, verdict: Verdict) -> WriteSite:
    function = context.program.functions[write.function]
    one = write.write
    path = function.module.path
    through = tuple(Spot(context.program.functions[key].module.path, line) for key, line in write.chain)
    return WriteSite(
        path,
        one.line,
        sources.column(path, one.line, one.column),
        one.end_line,
        sources.column(path, one.end_line, one.end_column),
        function.facts.qual,
        one.how or one.op,
        verdict.severity,
        one.lock,
        verdict.holds,
        through,
    )


def _reach(context: Context, write: SharedWrite) -> tuple[tuple[str, ...], tuple[str, ...]]:
    labels = tuple(context.reach.labels.get(write.root, ()))
    if not labels:
        return (), ()
    keys = [*context.reach.trail(write.root)]
    if write.function != write.root:
        keys.extend(key for key, _ in write.chain[1:])
        keys.append(write.function)
    names = [function_name(key.partition(":")[2]) for key in keys]
    return labels, tuple(dict.fromkeys(names))


def _notes(context: Context, claim: Claim, write: SharedWrite, verdict: Verdict) -> tuple[str, ...]:
    found = []
    if verdict.holds and verdict.severity in ("critical", "high"):
        found.append(f"it keeps `{verdict.holds}`, which belongs to one request, for all later ones")
    if write.write.lock:
        found.append(
            f"`{write.write.lock}` puts the writes in order; the next request still reads what this one wrote"
        )
    if write.chain:
        caller, line = write.chain[0]
        function = context.program.functions[caller]
        found.append(f"passed on at {function.module.path}:{line}, in `{function_name(function.facts.qual)}`")
    words = {
        "counter": "a counter: numbers go up, nothing of a request is kept",
        "sum": "a running total of all requests",
        "lazy": "created when first needed, the same for all requests",
        "memo": "a cache: looked up before it is filled",
        "seen": "a set of what was met before: it grows with every new value",
        "keyed": "stored under a computed key: entries are apart, but nothing bounds or isolates them",
        "paired": "entries are removed again",
        "tasks": "background tasks, removed when they are done",
        "registration": "looks like set-up: no request is seen to reach it",
        "reset": "a reset",
        "cache": "named like a cache",
        "pool": "taken out and put back",
        "idle": "no entry point was seen to reach it, and it stores nothing of its caller",
    }
    if verdict.role in words:
        found.append(words[verdict.role])
    if verdict.status == "unknown" and context.reach.has_entries and verdict.severity in ("critical", "high"):
        found.append("no entry point was seen to reach this function")
    if claim.note:
        found.append(claim.note)
    return tuple(found)


def _repairable(how: str, file: str) -> str:
    """``how``, where ``--fix`` goes: notebooks are left as they are."""
    return how if file.endswith((".py", ".pyw")) else ""


def _replacement(claim: Claim, source: str) -> str:
    if claim.rule in ("SG101", "SG112") and claim.fixable:
        return scoped_replacement(source, claim.label.partition("[")[0])
    if claim.rule == "SG105" and claim.fixable:
        kind = claim.what.partition("one ")[2].partition(",")[0]
        return default_replacement(kind, claim.label)
    return ""


def _declared(context: Context, sources: Sources, rows: Iterable[Declared]) -> Iterable[Finding]:
    for one in rows:
        module = context.program.modules[one.module]
        labels = tuple(context.reach.labels.get(one.reach_key, ())) if one.reach_key else ()
        end = one.end_column or one.column + 1
        yield Finding(
            rule=one.rule,
            name=RULES[one.rule].name,
            file=module.path,
            line=one.line,
            column=sources.column(module.path, one.line, one.column),
            end_line=one.line,
            end_column=sources.column(module.path, one.line, end),
            function=one.function,
            message=one.message,
            severity=one.severity,
            confidence=one.confidence,
            target=one.target,
            defined_at=Spot(module.path, one.line),
            defined_source=sources.line(module.path, one.line).strip(),
            reachable_from=labels,
            notes=(one.note,) if one.note else (),
            help=RULES[one.rule].fix,
            fixable=_repairable(one.fixable, module.path),
            cell=sources.cell(module.path, one.line),
            frame=sources.frame(module.path, one.line, one.line),
        )
