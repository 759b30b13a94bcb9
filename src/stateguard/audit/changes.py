"""``--diff REV``: the findings that a change introduces.

Both versions of the whole program are audited, the older one from git's objects without checking anything
out, so a finding in an untouched file that only the change made reachable counts, and moved lines do not.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stateguard.audit.collect import SourceFile, collect
from stateguard.audit.options import AuditOptions
from stateguard.audit.run import audit_contents
from stateguard.errors import ConfigError
from stateguard.finding import AuditReport, Finding
from stateguard.leak import SEVERITIES

GIT_TIMEOUT = 120.0


def only_introduced(
    report: AuditReport, revision: str, paths: Sequence[Path], options: AuditOptions
) -> AuditReport:
    """The report reduced to findings that the revision does not have, or has with a lower severity.

    Raises :class:`~stateguard.errors.ConfigError` when there is no git, no repository or no such revision.
    """
    before = audit_contents(_contents_at(revision, paths, options), replace(options, cache=None))
    old = Counter(_key(f) for f in before.findings)
    worst: dict[tuple[str, ...], int] = {}
    writes: Counter[tuple[str, ...]] = Counter()
    for finding in before.findings:
        key = _key(finding)
        worst[key] = max(worst.get(key, 0), SEVERITIES.index(finding.severity))
        writes[key] += len(finding.writes)
    kept = [
        f
        for f in report.findings
        if not old[_key(f)]
        or SEVERITIES.index(f.severity) > worst[_key(f)]
        or len(f.writes) > writes[_key(f)]
    ]
    return replace(report, findings=tuple(kept))


def _key(finding: Finding) -> tuple[str, ...]:
    return (finding.rule, finding.target or finding.file, *sorted({w.function for w in finding.writes}))


def _git(root: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            input=stdin,
            capture_output=True,
            timeout=GIT_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"--diff needs git: {error}") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigError(f"git {arguments[0]} failed: {message[-1] if message else done.returncode}")
    return done.stdout


def _contents_at(
    revision: str, paths: Sequence[Path], options: AuditOptions
) -> list[tuple[SourceFile, bytes | None]]:
    """The files of a revision that the same paths and excludes choose, with their bytes."""
    if revision.startswith("-"):
        raise ConfigError(f"{revision!r} is not a git revision")
    top = Path(_git(options.root, "rev-parse", "--show-toplevel").decode().strip())
    try:
        _git(options.root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except ConfigError as error:
        raise ConfigError(f"there is no git revision {revision!r} here") from error
    try:
        merge_base = _git(options.root, "merge-base", revision, "HEAD").decode().strip()
    except ConfigError:  # histories without a common commit: a shallow clone, an orphan branch
        merge_base = revision
    listed = _git(top, "ls-tree", "-r", "-z", merge_base).split(b"\0")
    known = {file.shown: file for file in collect(paths, options.root, options.exclude)}
    wanted: list[tuple[SourceFile, bytes]] = []
    links: list[SourceFile] = []
    for row in listed:
        head, _, name = row.partition(b"\t")
        mode, _, object_id = head.split(b" ") if name else (b"", b"", b"")
        file = _find(top / name.decode(errors="surrogateescape"), known, paths, options) if name else None
        if file is None:
            continue
        if mode == b"120000":
            links.append(file)  # git keeps where it points to; what is there is no part of the revision
        else:
            wanted.append((file, object_id))
    # By object id: a name may hold a line break.
    answer = _git(top, "cat-file", "--batch", stdin=b"".join(one + b"\n" for _, one in wanted))
    contents: list[tuple[SourceFile, bytes | None]] = [
        (file, data) for (file, _), data in zip(wanted, _blobs(answer), strict=True)
    ]
    return contents + [(file, None) for file in links]


def _find(
    absolute: Path, known: dict[str, SourceFile], paths: Sequence[Path], options: AuditOptions
) -> SourceFile | None:
    try:
        shown = absolute.relative_to(options.root).as_posix()
    except ValueError:
        return None
    if shown in known:
        return known[shown]
    if absolute.exists() or absolute.suffix not in (".py", ".ipynb"):
        return None  # excluded now, excluded then
    if not any(absolute.is_relative_to(Path(p).resolve()) for p in paths):
        return None
    parts = list(absolute.relative_to(options.root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    return SourceFile(absolute, shown, ".".join(parts[:-1] if is_package else parts), is_package)


def _blobs(answer: bytes) -> list[bytes]:
    """The contents in the answer of ``git cat-file --batch``."""
    found = []
    position = 0
    while position < len(answer):
        end = answer.index(b"\n", position)
        header = answer[position:end].split()
        if len(header) != 3:
            found.append(b"")
            position = end + 1
            continue
        size = int(header[2])
        found.append(answer[end + 1 : end + 1 + size])
        position = end + 1 + size + 1
    return found
