"""Runtime evidence: which findings the guard has seen happen, and which leaks the audit did not find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stateguard.errors import ConfigError
from stateguard.finding import AuditReport, Finding, MissedLeak
from stateguard.report.merge import Distinct, read_leaks


@dataclass(frozen=True, slots=True)
class RuntimeLeak:
    """What matters of a recorded leak: the object, the line that changed it, how often it was seen."""

    path: str
    root: str
    file: str
    line: int
    function: str
    count: int = 1


def read_evidence(places: Iterable[str | Path]) -> list[RuntimeLeak]:
    """Leaks from files of ``Leak.to_dict()`` lines, directories of such files, and Redis collectors.

    Equal leaks of all processes are one, with their count. Raises ``ConfigError`` when a place cannot be read
    or when nothing in it is a leak.
    """
    merged = read_leaks(places)
    if merged.unreadable and not merged.leaks:
        shown = ", ".join(str(place) for place in places)
        raise ConfigError(f"nothing in {shown} is a recorded leak ({merged.unreadable} lines were read)")
    return [_leak(one) for one in merged.worst_first()]


def _leak(one: Distinct) -> RuntimeLeak:
    leak = one.leak
    where = leak.location
    return RuntimeLeak(
        leak.path,
        leak.root or leak.path,
        where.file if where else "",
        where.line if where else 0,
        where.function if where else "",
        one.count,
    )


def confirm(report: AuditReport, leaks: Sequence[RuntimeLeak], root: Path) -> AuditReport:
    """The report with a count on every finding that happened, and the leaks that no finding explains."""
    counts = [0] * len(report.findings)
    missed: dict[tuple[str, str, int], tuple[RuntimeLeak, int]] = {}
    for leak in leaks:
        matches = [index for index, one in enumerate(report.findings) if _explains(one, leak, root)]
        if matches:
            for index in matches:
                counts[index] += leak.count
        else:
            key = (leak.root, leak.file, leak.line)
            _, number = missed.get(key, (leak, 0))
            missed[key] = (leak, number + leak.count)
    findings = tuple(
        replace(one, confirmed=count, confidence="high") if count else one
        for one, count in zip(report.findings, counts, strict=True)
    )
    rows = tuple(
        MissedLeak(
            leak.root, _relative(leak.file, root), leak.line, leak.function, number, _why(report, leak, root)
        )
        for leak, number in missed.values()
    )
    return replace(report, findings=findings, missed=rows, evidence=sum(leak.count for leak in leaks))


def _explains(finding: Finding, leak: RuntimeLeak, root: Path) -> bool:
    """Whether they are about the same object, or about the same line."""
    if leak.line and any(
        w.line <= leak.line <= w.end_line and _same_file(w.file, leak.file, root) for w in finding.writes
    ):
        return True
    target = finding.target
    if not target:
        return False
    if target not in (leak.root, leak.path):
        starts = leak.path.startswith(target) and leak.path[len(target) : len(target) + 1] in (
            ".",
            "[",
            "(",
            "",
        )
        ends = leak.root.endswith("." + target) or target.endswith("." + leak.root)
        return starts or ends
    return True


def _same_file(shown: str, recorded: str, root: Path) -> bool:
    if not recorded:
        return False
    if shown == recorded or str(root / shown) == recorded:
        return True
    return recorded.replace("\\", "/").endswith("/" + shown)


def _relative(file: str, root: Path) -> str:
    try:
        return Path(file).relative_to(root).as_posix()
    except ValueError:
        return file


def _why(report: AuditReport, leak: RuntimeLeak, root: Path) -> str:
    if not leak.file:
        return "the guard did not learn which line changed it"
    if "site-packages" in leak.file or not (root / _relative(leak.file, root)).exists():
        return "the line is outside the audited files"
    return "no finding names it: ranked below the threshold, suppressed, or written dynamically"
