"""What the audit found: plain values that every report format is made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2s
from typing import Any, Literal

from stateguard.leak import SEVERITIES, Severity

Certainty = Literal["high", "medium", "low"]
"""How sure the audit is that requests reach the write and that the object is shared: ``high`` when the way
from an entry point was followed, ``medium`` when no caller is known, ``low`` when entry points exist and none
of them was seen to lead there, or when the object's type is a guess."""

CERTAINTIES: tuple[Certainty, ...] = ("low", "medium", "high")

SCHEMA_VERSION = 1
"""Version of the JSON form: raised when a field changes its meaning or goes away, not when one is added."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file. Lines and columns count from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class WriteSite:
    """One line that changes the shared object. ``through`` lists calls that led there, outermost first."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    function: str
    how: str
    severity: Severity
    lock: str = ""
    holds: str = ""
    through: tuple[Spot, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Shared state that request code changes.

    ``target`` is the object's path (``myapp.chat.HISTORY``), as the runtime guard names it. ``writes`` has
    every write site, the one the finding points at first. ``reachable_from`` names entry points (``POST
    /chat``). ``fixable`` is ``"safe"``, ``"unsafe"`` or empty. ``confirmed`` counts runtime leaks recorded
    for the target. ``frame`` is the source around the first write, for terminals.
    """

    rule: str
    name: str
    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    function: str
    message: str
    severity: Severity
    confidence: Certainty
    target: str = ""
    defined_at: Spot | None = None
    defined_source: str = ""
    writes: tuple[WriteSite, ...] = ()
    reachable_from: tuple[str, ...] = ()
    trail: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    replacement: str = ""
    fixable: str = ""
    confirmed: int = 0
    cell: str = ""
    frame: tuple[tuple[int, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """A name that survives edits elsewhere in the file: rule, target and writing functions, no lines."""
        functions = sorted({w.function for w in self.writes} or {self.function})
        text = "\0".join((self.rule, self.file, self.target, *functions))
        return blake2s(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready values."""
        data = {**asdict(self), "fingerprint": self.fingerprint}
        del data["frame"]
        return data


@dataclass(frozen=True, slots=True)
class MissedLeak:
    """A leak that the guard recorded at runtime and no finding explains."""

    path: str
    file: str
    line: int
    function: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result of one audit, ready to be printed. ``hidden`` counts what thresholds left out.

    ``baselined`` findings are known from a baseline, ``older`` ones from the revision that was compared with.
    """

    findings: tuple[Finding, ...]
    files: int = 0
    lines: int = 0
    functions: int = 0
    entry_points: int = 0
    seconds: float = 0.0
    cached: int = 0
    hidden: tuple[tuple[str, int], ...] = ()
    baselined: int = 0
    older: int = 0
    suppressed: int = 0
    missed: tuple[MissedLeak, ...] = ()
    evidence: int = 0
    stale_baseline: tuple[str, ...] = ()


def sort_key(finding: Finding) -> tuple[Any, ...]:
    """The rank: the worst first, then the surest, then by file and line."""
    return (
        -SEVERITIES.index(finding.severity),
        -CERTAINTIES.index(finding.confidence),
        finding.file,
        finding.line,
        finding.rule,
        finding.target,
    )
