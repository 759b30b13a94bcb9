"""Which findings can be repaired, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from stateguard.finding import Finding

Kind = Literal["scoped", "default", "contextvar", "constant"]

_KINDS: dict[str, Kind] = {
    "SG101": "scoped",
    "SG112": "scoped",
    "SG105": "default",
    "SG108": "contextvar",
    "SG114": "constant",
}


@dataclass(frozen=True, slots=True)
class Repair:
    """One change: ``name`` is the variable or parameter whose definition on ``line`` is rewritten."""

    kind: Kind
    file: str
    line: int
    name: str
    rule: str


def plan(findings: Iterable[Finding], unsafe: bool) -> dict[str, list[Repair]]:
    """The repairs by file. Without ``unsafe`` only those that keep what the code does for a single caller.

    A variable that is also rebound through ``global``, or from another module, is left alone: a rebinding
    would throw the repaired object away. Notebooks are left alone too.
    """
    found = list(findings)
    rebound = {f.target for f in found if f.rule in ("SG102", "SG103")}
    repairs: dict[str, dict[Repair, None]] = {}
    for finding in found:
        kind = _KINDS.get(finding.rule)
        wanted = finding.fixable == "safe" or (unsafe and finding.fixable == "unsafe")
        if kind is None or not wanted or finding.defined_at is None or finding.target in rebound:
            continue
        file = finding.defined_at.file
        if not file.endswith((".py", ".pyw")):
            continue
        name = (
            finding.target.rpartition("(")[2][:-1] if kind == "default" else finding.target.rpartition(".")[2]
        )
        repair = Repair(kind, file, finding.defined_at.line, name, finding.rule)
        repairs.setdefault(file, {})[repair] = None
    return {file: list(rows) for file, rows in repairs.items()}
