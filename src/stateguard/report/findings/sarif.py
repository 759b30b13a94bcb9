"""SARIF 2.1.0, for code scanning services (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from stateguard._version import __version__
from stateguard.finding import AuditReport, Finding, Spot
from stateguard.rules import RULES, Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "low": "warning", "note": "note"}
_SECURITY = {"critical": "8.5", "high": "6.5", "low": "3.0", "note": "1.0"}


def render(report: AuditReport) -> str:
    """One run, with the rules it used and one result per finding."""
    used = [rule for code, rule in RULES.items() if any(f.rule == code for f in report.findings)]
    positions = {rule.code: index for index, rule in enumerate(used)}
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "stateguard",
                        "semanticVersion": __version__,
                        "informationUri": "https://stateguard.readthedocs.io",
                        "rules": [_rule(rule, report) for rule in used],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"SRCROOT": {"description": {"text": "where the audit was started"}}},
                "results": [_result(one, positions) for one in report.findings],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _rule(rule: Rule, report: AuditReport) -> dict[str, Any]:
    worst = max(float(_SECURITY[f.severity]) for f in report.findings if f.rule == rule.code)
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": " ".join(rule.why.split())},
        "help": {
            "text": f"{rule.fix}. Ignore it when: {' '.join(rule.ignore.split())}",
            "markdown": f"{' '.join(rule.why.split())}\n\n**Fix:** {rule.fix}\n\n"
            f"```python\n{rule.repaired}\n```",
        },
        "helpUri": rule.url,
        "properties": {"tags": ["concurrency", "state"], "security-severity": f"{worst:.1f}"},
    }


def _result(one: Finding, positions: dict[str, int]) -> dict[str, Any]:
    related = [_location(s.file, s.line, f"`{s.function}` writes it ({s.how})") for s in one.writes[1:]]
    if one.defined_at is not None:
        related.insert(0, _spot(one.defined_at, "defined here"))
    for number, location in enumerate(related, 1):
        location["id"] = number
    text = one.message
    if one.reachable_from:
        text += f"; reachable from {', '.join(one.reachable_from)}"
    result: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": positions[one.rule],
        "level": _LEVELS[one.severity],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(one.file), "uriBaseId": "SRCROOT"},
                    "region": {
                        "startLine": one.line,
                        "startColumn": max(one.column, 1),
                        "endLine": max(one.end_line, one.line),
                        "endColumn": max(one.end_column, 1),
                    },
                },
                "logicalLocations": [{"fullyQualifiedName": one.target or one.file}],
            }
        ],
        "partialFingerprints": {"stateguard/v1": one.fingerprint},
        "properties": {
            "severity": one.severity,
            "confidence": one.confidence,
            "confirmed": one.confirmed,
            "reachableFrom": list(one.reachable_from),
        },
    }
    if related:
        result["relatedLocations"] = related
    return result


def _uri(file: str) -> str:
    return quote(file, errors="surrogateescape")


def _spot(spot: Spot, text: str) -> dict[str, Any]:
    return _location(spot.file, spot.line, text)


def _location(file: str, line: int, text: str) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(file), "uriBaseId": "SRCROOT"},
            "region": {"startLine": line},
        },
        "message": {"text": text},
    }
