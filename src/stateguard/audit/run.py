"""One audit from paths to a report: read, link, judge, filter."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stateguard.audit import assemble, entrypoints
from stateguard.audit.cache import Cache, digest, parse_json
from stateguard.audit.callgraph import CallGraph
from stateguard.audit.checks.base import Context
from stateguard.audit.collect import SourceFile, collect, load
from stateguard.audit.effects import Effects
from stateguard.audit.facts import ModuleFacts, Suppression, dump
from stateguard.audit.facts import load as load_facts
from stateguard.audit.judge import Judge
from stateguard.audit.options import AuditOptions, expand
from stateguard.audit.parallel import read_all
from stateguard.audit.program import Program
from stateguard.audit.reach import Reach
from stateguard.audit.resolve import Resolver
from stateguard.audit.sources import Sources
from stateguard.audit.suppress import Suppressions, ignored_by_path
from stateguard.finding import CERTAINTIES, AuditReport, Finding, Spot, WriteSite, sort_key
from stateguard.leak import SEVERITIES
from stateguard.rules import RULES

LINK_RECURSION_LIMIT = 10_000
"""Room for aliases of aliases; the resolver's own limit ends every chain long before."""

Progress = Callable[[int, int], None]
"""Called with the number of files read and their total."""


def audit(
    paths: Sequence[Path | str], options: AuditOptions | None = None, progress: Progress | None = None
) -> AuditReport:
    """Audit files and directories. The code is read, never imported or run.

    Raises :class:`~stateguard.errors.ConfigError` for a path that does not exist or a rule that has no such
    name.
    """
    options = options or AuditOptions()
    started = time.perf_counter()
    files = collect([Path(p) for p in paths], options.root, options.exclude)
    contents = [(file, load(file.path)[0]) for file in files]
    report = audit_contents(contents, options, progress)
    return replace(report, seconds=time.perf_counter() - started)


def audit_contents(
    contents: list[tuple[SourceFile, bytes | None]],
    options: AuditOptions,
    progress: Progress | None = None,
) -> AuditReport:
    """Audit files whose bytes are given: the working tree, or another revision of it."""
    codes = options.codes()
    per_path = tuple((pattern, expand(rules)) for pattern, rules in options.per_path_ignores)
    cache = Cache(options.cache)
    keys = [digest(file.shown, file.module, data or b"") for file, data in contents]
    whole = digest(
        *keys, repr((sorted(codes), options.select, per_path, options.min_severity)), options.min_confidence
    )
    if options.cache is not None:
        stored = cache.result(whole)
        report = _restore(stored) if stored else None
        if report is not None:
            return replace(report, cached=len(contents))
    collecting = gc.isenabled()
    gc.disable()  # millions of small objects that all live until the end: nothing to collect
    try:
        modules, reused = _modules(contents, keys, cache, options, progress)
        found, context = analyse(modules, contents)
    finally:
        if collecting:
            gc.enable()
    report = _filtered(found, modules, options, codes, per_path)
    report = replace(
        report,
        files=len(contents),
        lines=sum(data.count(b"\n") for _, data in contents if data),
        functions=len(context.program.functions) - len(context.program.modules),
        entry_points=len(context.entries.requests),
        cached=reused,
    )
    if options.cache is not None:
        cache.save()
        cache.store_result(whole, json.dumps(_plain(report)))
    return report


def _modules(
    contents: list[tuple[SourceFile, bytes | None]],
    keys: list[str],
    cache: Cache,
    options: AuditOptions,
    progress: Progress | None,
) -> tuple[list[ModuleFacts], int]:
    known: dict[int, ModuleFacts] = {}
    if options.cache is not None:
        for index, key in enumerate(keys):
            text = cache.facts(key)
            if text is not None:
                try:
                    known[index] = load_facts(text)
                except (ValueError, TypeError, LookupError):
                    continue
    missing = [index for index in range(len(contents)) if index not in known]
    fresh = read_all([contents[index] for index in missing], options.jobs, progress)
    for index, facts in zip(missing, fresh, strict=True):
        known[index] = facts
        if options.cache is not None:
            cache.store_facts(keys[index], dump(facts))
    return [known[index] for index in range(len(contents))], len(contents) - len(missing)


def analyse(
    modules: Iterable[ModuleFacts], contents: list[tuple[SourceFile, bytes | None]]
) -> tuple[list[Finding], Context]:
    """Link the facts of all files and find everything, whatever its severity."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, LINK_RECURSION_LIMIT))
    try:
        program = Program(modules)
        resolver = Resolver(program)
        graph = CallGraph(program, resolver)
        effects = Effects(program, resolver, graph)
        entries = entrypoints.find(program, resolver)
        reach = Reach(program, graph, entries)
        context = Context(program, resolver, graph, effects, entries, reach, Judge(resolver, reach))
        sources = Sources(contents)
        return [*assemble.findings(context, sources), *_unreadable(program, sources)], context
    finally:
        sys.setrecursionlimit(limit)


def _unreadable(program: Program, sources: Sources) -> Iterable[Finding]:
    for module in program.all_modules:
        if module.error:
            yield _about_file(
                "SG199", module.path, module.error_line or 1, 1, f"this file {module.error}", sources
            )


def _about_file(
    code: str, file: str, line: int, column: int, message: str, sources: Sources | None
) -> Finding:
    rule = RULES[code]
    frame = sources.frame(file, line, line) if sources is not None else ()
    cell = sources.cell(file, line) if sources is not None else ""
    return Finding(
        code, rule.name, file, line, column, line, column, "", message, "low", "high", help=rule.fix,
        frame=frame, cell=cell,
    )  # fmt: skip


def _filtered(
    found: list[Finding],
    modules: list[ModuleFacts],
    options: AuditOptions,
    codes: frozenset[str],
    per_path: tuple[tuple[str, frozenset[str]], ...],
) -> AuditReport:
    selected = [f for f in found if f.rule in codes and not ignored_by_path(f, per_path)]
    suppressions = Suppressions(modules)
    kept = suppressions.apply(selected)
    hidden: dict[str, int] = {}
    explicit = expand(options.select) if options.select else frozenset()
    shown = []
    for finding in kept:
        quiet = SEVERITIES.index(finding.severity) < SEVERITIES.index(options.min_severity)
        if quiet and not (finding.rule == "SG114" and "SG114" in explicit | expand(options.extend_select)):
            hidden[finding.severity] = hidden.get(finding.severity, 0) + 1
        elif CERTAINTIES.index(finding.confidence) < CERTAINTIES.index(options.min_confidence):
            hidden["confidence"] = hidden.get("confidence", 0) + 1
        else:
            shown.append(finding)
    if "SG198" in codes:
        shown.extend(_unused(suppressions, codes))
    return AuditReport(
        tuple(sorted(shown, key=sort_key)),
        hidden=tuple(sorted(hidden.items())),
        suppressed=suppressions.count,
    )


def _unused(suppressions: Suppressions, codes: frozenset[str]) -> Iterable[Finding]:
    def words(one: Suppression) -> str:
        return f"[{', '.join(one.codes)}]" if one.codes else ""

    for file, one in suppressions.unused(codes | {c for c, r in RULES.items() if not r.default}):
        message = f"`# stateguard: ignore{words(one)}` suppresses nothing"
        yield _about_file("SG198", file, one.line, one.column, message, None)
    for file, one, text in suppressions.unknown:
        yield _about_file("SG198", file, one.line, one.column, f"no rule is called {text!r}", None)


def _plain(report: AuditReport) -> dict[str, Any]:
    rows = []
    for one in report.findings:
        rows.append({**one.to_dict(), "frame": one.frame})
    keep = ("files", "lines", "functions", "entry_points", "hidden", "suppressed")
    return {"findings": rows, **{name: getattr(report, name) for name in keep}}


def _restore(text: str) -> AuditReport | None:
    data = parse_json(text)
    if not isinstance(data, dict):
        return None
    try:
        found = tuple(_finding(row) for row in data.pop("findings"))
        data["hidden"] = tuple((a, b) for a, b in data["hidden"])
        return AuditReport(found, **data)
    except (KeyError, TypeError, ValueError):
        return None


def _finding(row: dict[str, Any]) -> Finding:
    row.pop("fingerprint", None)
    if row["defined_at"]:
        row["defined_at"] = Spot(**row["defined_at"])
    row["writes"] = tuple(
        WriteSite(**{**w, "through": tuple(Spot(**s) for s in w["through"])}) for w in row["writes"]
    )
    for name in ("reachable_from", "trail", "notes"):
        row[name] = tuple(row[name])
    row["frame"] = tuple((number, line) for number, line in row["frame"])
    return Finding(**row)
