"""A baseline: findings a project lives with for now. New ones still fail; repaired ones are named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stateguard.errors import ConfigError, StateGuardError
from stateguard.finding import AuditReport, Finding

BASELINE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Baseline:
    """Known findings, as rows with a fingerprint and, for readers, rule, file and target."""

    rows: tuple[dict[str, Any], ...]

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Baseline:
        """The baseline that lists these findings."""
        rows = [
            {"fingerprint": f.fingerprint, "rule": f.rule, "file": f.file, "target": f.target, "reason": ""}
            for f in findings
        ]
        return cls(tuple(sorted(rows, key=lambda row: (row["file"], row["rule"], row["target"]))))

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a baseline file. Raises ``ConfigError`` when it is missing or is not one."""
        try:
            data = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"there is no baseline {path}: write it with --write-baseline {path}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"{path} is not a baseline ({error}): write one with --write-baseline"
            ) from error
        rows = data.get("findings") if isinstance(data, dict) else None
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("fingerprint"), str) for row in rows
        ):
            raise ConfigError(
                f"{path} is not a baseline (it lists no findings): write one with --write-baseline"
            )
        if data.get("version") != BASELINE_VERSION:
            raise ConfigError(
                f"{path} is a baseline of another version: write it again with --write-baseline"
            )
        return cls(tuple(rows))

    def write(self, path: Path) -> int:
        """Write the file, keeping reasons that an older version of it has. Returns how many it lists."""
        reasons: dict[str, str] = {}
        if path.exists():
            reasons = {row["fingerprint"]: row.get("reason", "") for row in Baseline.read(path).rows}
        rows = [{**row, "reason": reasons.get(row["fingerprint"], "")} for row in self.rows]
        document = {"version": BASELINE_VERSION, "findings": rows}
        try:
            path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise StateGuardError(f"cannot write {path}: {error.strerror or error}") from error
        return len(rows)

    def apply(self, report: AuditReport) -> AuditReport:
        """The report without the known findings; rows that match nothing are listed as stale."""
        left = Counter(row["fingerprint"] for row in self.rows)
        kept = []
        for finding in report.findings:
            if left[finding.fingerprint] > 0:
                left[finding.fingerprint] -= 1
            else:
                kept.append(finding)
        stale = tuple(
            f"{row.get('rule', '?')} {row.get('target', '?')}"
            for row in self.rows
            if left[row["fingerprint"]] > 0
        )
        return replace(
            report,
            findings=tuple(kept),
            baselined=len(report.findings) - len(kept),
            stale_baseline=stale,
        )
