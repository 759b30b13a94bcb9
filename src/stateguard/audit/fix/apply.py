"""Repairing files, or showing what would be repaired."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stateguard.audit.collect import decode
from stateguard.audit.fix.plan import Repair
from stateguard.audit.fix.rewrite import Refused, rewrite


@dataclass(slots=True)
class Outcome:
    """What was repaired, the differences, and the files that were left alone with the reason."""

    made: list[Repair] = field(default_factory=list)
    diffs: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def repair_files(repairs: Mapping[str, Sequence[Repair]], root: Path, write: bool) -> Outcome:
    """Repair each file as a whole: it is replaced at once or not touched."""
    outcome = Outcome()
    for shown, rows in repairs.items():
        path = root / shown
        try:
            source = path.read_bytes()
            repaired, made = rewrite(source, rows)
        except (Refused, OSError) as error:
            outcome.refused[shown] = str(error)
            continue
        if not made:
            continue
        if write:
            try:
                _replace(path, repaired)
            except OSError as error:
                outcome.refused[shown] = f"cannot be written: {error.strerror or error}"
                continue
        outcome.made.extend(made)
        outcome.diffs[shown] = _diff(shown, source, repaired)
    return outcome


def _replace(path: Path, data: bytes) -> None:
    target = path.resolve()  # a symbolic link stays one
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".stateguard-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, target.stat().st_mode)
        os.replace(temporary, target)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _diff(shown: str, before: bytes, after: bytes) -> str:
    old, new = decode(before).text.splitlines(), decode(after).text.splitlines()
    lines = difflib.unified_diff(old, new, f"a/{shown}", f"b/{shown}", lineterm="")
    return "".join(line + "\n" for line in lines)
