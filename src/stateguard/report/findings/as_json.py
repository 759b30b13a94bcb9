"""The findings as JSON, for other programs. The schema has a version; see ``docs/audit.md``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from stateguard._version import __version__
from stateguard.finding import SCHEMA_VERSION, AuditReport, Finding


def render(report: AuditReport) -> str:
    """One JSON object: ``version``, ``findings``, ``missed`` and ``summary``."""
    document = {
        "version": SCHEMA_VERSION,
        "tool": {"name": "stateguard", "version": __version__},
        "findings": [_finding(one) for one in report.findings],
        "missed": [asdict(one) for one in report.missed],
        "summary": {
            "files": report.files,
            "lines": report.lines,
            "functions": report.functions,
            "entry_points": report.entry_points,
            "seconds": round(report.seconds, 4),
            "by_rule": dict(sorted(Counter(f.rule for f in report.findings).items())),
            "by_severity": dict(Counter(f.severity for f in report.findings)),
            "hidden": dict(report.hidden),
            "baselined": report.baselined,
            "suppressed": report.suppressed,
            "stale_baseline": list(report.stale_baseline),
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _finding(one: Finding) -> dict[str, Any]:
    row = one.to_dict()
    # What the program does not define (``os.environ``) has no other place than the one that writes it.
    row["defined_at"] = row["defined_at"] or {"file": one.file, "line": one.line}
    return row
