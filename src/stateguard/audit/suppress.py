"""``# stateguard: ignore[SG101] reason`` on a line, ``ignore-file`` for a file, globs for paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch

from stateguard.audit.facts import ModuleFacts, Suppression
from stateguard.audit.options import expand
from stateguard.errors import ConfigError
from stateguard.finding import Finding


class Suppressions:
    """All suppression comments of the program, and which of them did something."""

    def __init__(self, modules: Iterable[ModuleFacts]) -> None:
        self._by_file: dict[str, list[tuple[Suppression, frozenset[str]]]] = {}
        self._used: set[tuple[str, int, int]] = set()
        self.unknown: list[tuple[str, Suppression, str]] = []
        self.count = 0
        for module in modules:
            for one in module.suppressions:
                try:
                    codes = expand(one.codes)
                except ConfigError:
                    self.unknown.append((module.path, one, ", ".join(one.codes)))
                    continue
                self._by_file.setdefault(module.path, []).append((one, codes))

    def apply(self, findings: list[Finding]) -> list[Finding]:
        """The findings that no comment suppresses.

        A comment at the definition, or on the line a finding points at when it is the only write, suppresses
        the finding; on one of several writes it suppresses that write.
        """
        kept = []
        for finding in findings:
            rest = self._one(finding)
            if rest is None:
                self.count += 1
            else:
                kept.append(rest)
        return kept

    def _one(self, finding: Finding) -> Finding | None:
        if not self._by_file:
            return finding
        rule = finding.rule
        if finding.defined_at and self._matches(rule, finding.defined_at.file, finding.defined_at.line):
            return None
        if not finding.writes:
            return None if self._matches(rule, finding.file, finding.line) else finding
        writes = tuple(
            w
            for w in finding.writes
            if not self._matches(rule, w.file, w.line, w.end_line)
            and not any(self._matches(rule, spot.file, spot.line) for spot in w.through)
        )
        if not writes:
            return None
        if len(writes) == len(finding.writes):
            return finding
        first = writes[0]
        return replace(
            finding,
            writes=writes,
            file=first.file,
            line=first.line,
            column=first.column,
            end_line=first.end_line,
            end_column=first.end_column,
            function=first.function,
            severity=first.severity,
        )

    def _matches(self, rule: str, file: str, line: int, end_line: int = 0) -> bool:
        matched = False
        for one, codes in self._by_file.get(file, ()):
            on_line = one.whole_file or line in (one.line, one.begins) or (end_line and one.line == end_line)
            if on_line and (not codes or rule in codes):
                self._used.add((file, one.line, one.column))
                matched = True
        return matched

    def unused(self, active: frozenset[str]) -> list[tuple[str, Suppression]]:
        """Comments that suppressed nothing, among those whose rules were all looked for."""
        found = []
        for file, rows in self._by_file.items():
            for one, codes in rows:
                if (file, one.line, one.column) not in self._used and codes <= active:
                    found.append((file, one))
        return found


def ignored_by_path(finding: Finding, rules: tuple[tuple[str, frozenset[str]], ...]) -> bool:
    """Whether a per-path ignore covers the finding's file."""
    return any(
        finding.rule in codes and (fnmatch(finding.file, pattern) or fnmatch(finding.file, f"*/{pattern}"))
        for pattern, codes in rules
    )
