"""The case files: every ``# finding: SG101`` mark is found there, and nothing else is found."""

import re
import sys
from pathlib import Path

import pytest

from stateguard.audit import AuditOptions, audit
from stateguard.rules import RULES

CASES = Path(__file__).parent / "cases"
PROGRAMS = sorted(p for p in CASES.iterdir() if p.suffix == ".py" or (p.is_dir() and p.name != "__pycache__"))
if sys.version_info < (3, 12):  # a file in newer syntax than the audit's own Python is reported as such
    PROGRAMS = [p for p in PROGRAMS if not p.stem.endswith("_py312")]
MARK = re.compile(r"#\s*(finding|also):\s*([A-Z0-9, \[\]a-z]+)")


def marks(program: Path, root: Path) -> tuple[set[tuple[str, int, str]], set[tuple[str, int, str]]]:
    """``(primary places, every place that must be listed as a write)``."""
    primary, also = set(), set()
    for file in [program] if program.is_file() else sorted(program.rglob("*.py")):
        shown = file.relative_to(root).as_posix()
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for kind, codes in MARK.findall(line):
                for code in codes.split(","):
                    place = (shown, number, code.strip())
                    (primary if kind == "finding" else also).add(place)
    return primary, also


def audit_program(program: Path):
    root = program if program.is_dir() and not (program / "__init__.py").exists() else program.parent
    return root, audit([program], AuditOptions(root=root, min_severity="low", exclude=()))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_every_marked_line_is_found_and_no_other(program):
    root, report = audit_program(program)
    primary, also = marks(program, root)
    found = set()
    for one in report.findings:
        exact = (one.file, one.line, f"{one.rule}[{one.severity}]")
        found.add(exact if exact in primary else (one.file, one.line, one.rule))
    assert found == primary
    written = {(w.file, w.line, one.rule) for one in report.findings for w in one.writes}
    assert also <= written


def test_every_static_rule_has_a_case():
    text = "".join(f.read_text() for f in CASES.rglob("*.py"))
    for code in RULES:
        if code.startswith("SG1") and code < "SG114":
            assert f"# finding: {code}" in text, code
