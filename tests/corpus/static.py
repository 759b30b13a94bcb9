"""``python -m tests.corpus.static``: what ``stateguard audit`` says of every case, without a single request.

The audit reads the same applications that the guard is run over. A leak is found when a finding at default
settings lists the marked line as a write; the rule is right when it is the one that :data:`RULES` gives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stateguard.audit import AuditOptions, audit
from stateguard.finding import Finding
from stateguard.leak import SEVERITIES
from tests.corpus.case import Case, Truth, source_files
from tests.corpus.catalogue import CASES

RULES: dict[tuple[str, str], str] = {
    ("langchain_memory", "LEAK"): "SG106",
    ("autogen_context", "LEAK"): "SG101",
    ("gradio_initial", "LEAK"): "SG101",
    ("litellm_callbacks", "LEAK"): "SG101",
    ("easy_audit", "LEAK"): "SG104",
    ("drf_fields", "LEAK"): "SG104",
    ("ray_contextvar", "LEAK"): "SG108",
    ("canister_session", "LEAK"): "SG105",
    ("app_state", "LEAK"): "SG107",
    ("multitenant_local", "LEAK"): "SG111",
    ("langroid_flag", "LEAK"): "SG106",
    ("api_key", "LEAK"): "SG103",
    ("llama_handlers", "LEAK"): "SG106",
    ("sglang_stop_words", "LEAK"): "SG109",
    ("bokeh_socket", "LEAK"): "SG106",
    ("bokeh_socket", "LEAK user"): "SG106",
    ("cherrypy_globals", "LEAK"): "SG102",
    ("nogotofail_buffer", "LEAK"): "SG104",
    ("starlette_tasks", "LEAK"): "SG105",
    ("dxr_log", "LEAK"): "SG102",
    ("dxr_log", "LEAK flag"): "SG102",
    ("marshmallow_default", "LEAK"): "SG104",
    ("langchain_memory_asgi", "LEAK"): "SG106",
    ("autogen_context_wsgi", "LEAK"): "SG101",
    ("gradio_initial_asgi", "LEAK"): "SG101",
    ("litellm_callbacks_wsgi", "LEAK"): "SG101",
    ("easy_audit_asgi", "LEAK"): "SG107",
    ("drf_fields_asgi", "LEAK"): "SG104",
    ("ray_contextvar_wsgi", "LEAK"): "SG108",
    ("canister_session_asgi", "LEAK"): "SG105",
    ("app_state_wsgi", "LEAK"): "SG107",
    ("multitenant_local_asgi", "LEAK"): "SG111",
    ("langroid_flag_wsgi", "LEAK"): "SG102",
    ("api_key_asgi", "LEAK"): "SG106",
    ("llama_handlers_wsgi", "LEAK"): "SG106",
    ("sglang_stop_words_asgi", "LEAK"): "SG109",
    ("bokeh_socket_wsgi", "LEAK"): "SG106",
    ("cherrypy_globals_asgi", "LEAK"): "SG104",
    ("nogotofail_buffer_asgi", "LEAK"): "SG104",
    ("starlette_tasks_wsgi", "LEAK"): "SG105",
    ("dxr_log_asgi", "LEAK"): "SG102",
    ("marshmallow_default_asgi", "LEAK"): "SG101",
    ("eight_list", "LEAK list"): "SG101",
    ("eight_dict", "LEAK dict"): "SG101",
    ("eight_set", "LEAK set"): "SG101",
    ("eight_global", "LEAK global"): "SG102",
    ("eight_class-list", "LEAK class-list"): "SG104",
    ("eight_class-rebound", "LEAK class-rebound"): "SG104",
    ("eight_instance", "LEAK instance"): "SG106",
    ("eight_default", "LEAK default"): "SG105",
    ("eight_list-from-outside", "LEAK list-from-outside"): "SG101",
    ("eight_global-from-outside", "LEAK global-from-outside"): "SG103",
}
"""The rule that each leak belongs to, by case and marker. Cases without a row are counted by line alone."""

HEAD = ("case", "source", "found", "rule", "line", "reached", "severity", "beside")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the audit says of one leak, or of one harmless application."""

    case: Case
    truth: Truth | None
    at_line: tuple[Finding, ...]
    """Findings that list a marked line as a write."""
    beside: tuple[Finding, ...]
    """Findings on lines that nothing marks: on purpose or not, somebody has to read them."""

    @property
    def expected(self) -> str:
        """The right rule, empty when the table does not say."""
        return RULES.get((self.case.name, self.truth.marker), "") if self.truth else ""

    @property
    def right(self) -> bool:
        """Found on the right line, with the right rule."""
        rules = {one.rule for one in self.at_line}
        return bool(rules) and (not self.expected or self.expected in rules)

    @property
    def worst(self) -> str:
        """The highest severity of what was found, or of what was said of a harmless application."""
        rows = self.at_line if self.truth else self.beside
        return max((one.severity for one in rows), key=SEVERITIES.index, default="")


@cache
def findings(module: str) -> tuple[Finding, ...]:
    """Everything the audit reports at default settings in one application."""
    root = Path(__file__).parents[2]
    return audit(source_files(module), AuditOptions(root=root, exclude=())).findings


def _places(one: Finding) -> set[tuple[str, int]]:
    root = Path(__file__).parents[2]
    return {(str(root / w.file), w.line) for w in one.writes} or {(str(root / one.file), one.line)}


def judge(case: Case) -> list[Verdict]:
    """One verdict for each leak of a case, one for a harmless case."""
    found = findings(case.module_name)
    known = {place for truth in _all_truths(case.module_name) for place in truth}
    beside = tuple(one for one in found if not _places(one) & known)
    if not case.truths:
        return [Verdict(case, None, (), beside)]
    return [
        Verdict(case, truth, tuple(one for one in found if _places(one) & case.lines(truth)), beside)
        for truth in case.truths
    ]


def _all_truths(module: str) -> list[frozenset[tuple[str, int]]]:
    """The marked lines of every case that the module serves: one application may hold several leaks."""
    return [case.lines(truth) for case in CASES if case.module_name == module for truth in case.truths]


def row(verdict: Verdict) -> tuple[str, ...]:
    """One line of the table."""
    beside = " ".join(f"{one.rule}:{one.line}({one.severity})" for one in verdict.beside) or "-"
    if verdict.truth is None:
        return (verdict.case.name, verdict.case.source, "-", "-", "-", "-", verdict.worst or "-", beside)
    rules = sorted({one.rule for one in verdict.at_line})
    reached = sorted({label for one in verdict.at_line for label in one.reachable_from})
    return (
        verdict.case.name,
        verdict.case.source,
        "yes" if verdict.at_line else "NO",
        " ".join(rules) + ("" if verdict.right else f" (not {verdict.expected})") if rules else "-",
        "yes" if verdict.at_line else "NO",
        reached[0] if reached else "-",
        verdict.worst or "-",
        beside,
    )


def totals(verdicts: Sequence[Verdict]) -> list[str]:
    """The sums below the table."""
    leaks = [v for v in verdicts if v.truth is not None]
    harmless = [v for v in verdicts if v.truth is None]
    flagged = [v for v in harmless if v.beside]
    high = [v for v in harmless if v.worst in ("high", "critical")]
    reached = sum(any(one.reachable_from for one in v.at_line) for v in leaks)
    return [
        f"{len(leaks)} leaks: right line {sum(bool(v.at_line) for v in leaks)}, right rule and line "
        f"{sum(v.right for v in leaks)}, reached from an entry point {reached}, rated high or critical "
        f"{sum(v.worst in ('high', 'critical') for v in leaks)}",
        f"{len(harmless)} harmless: flagged at default settings {len(flagged)}, rated high {len(high)}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; exit with 1 when a leak is missed or a harmless write is rated high."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.static", description=__doc__)
    parser.add_argument("words", nargs="*", help="only cases whose name contains one of these")
    words = parser.parse_args(argv).words
    verdicts = [
        verdict
        for case in CASES
        if not words or any(word in case.name for word in words)
        for verdict in judge(case)
    ]
    rows = [HEAD, *map(row, verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    print("\n".join(totals(verdicts)))
    missed = any(v.truth is not None and not v.right for v in verdicts)
    noisy = any(v.truth is None and v.worst in ("high", "critical") for v in verdicts)
    return 1 if missed or noisy else 0


if __name__ == "__main__":
    sys.exit(main())
