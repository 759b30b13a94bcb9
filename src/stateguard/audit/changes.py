"""``--diff REV``: the findings that a change introduces.

Both versions of the whole program are audited, the older one from git's objects without checking anything
out, so a finding in an untouched file that only the change made reachable counts, and moved lines and renamed
files do not.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stateguard.audit.collect import SUFFIXES, SourceFile, collect, shown_as, source_file
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
    older = _older(revision, paths, options)
    before = audit_contents(older.contents, replace(options, cache=None))
    old = Counter(older.key(f) for f in before.findings)
    worst: dict[tuple[str, ...], int] = {}
    writes: Counter[tuple[str, ...]] = Counter()
    for finding in before.findings:
        key = older.key(finding)
        worst[key] = max(worst.get(key, 0), SEVERITIES.index(finding.severity))
        writes[key] += len(finding.writes)
    kept = [
        f
        for f in report.findings
        if not old[_key(f)]
        or SEVERITIES.index(f.severity) > worst[_key(f)]
        or len(f.writes) > writes[_key(f)]
    ]
    return replace(report, findings=tuple(kept), older=len(report.findings) - len(kept))


def _key(finding: Finding) -> tuple[str, ...]:
    return (finding.rule, finding.target or finding.file, *sorted({w.function for w in finding.writes}))


@dataclass
class _Older:
    """The program at a revision, and what its renamed files and their modules are called now."""

    contents: list[tuple[SourceFile, bytes | None]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    def key(self, finding: Finding) -> tuple[str, ...]:
        """The key of one of its findings, in today's names."""
        target = finding.target
        module = target
        while module and module not in self.modules:
            module = module.rpartition(".")[0]
        if module:
            target = self.modules[module] + target[len(module) :]
        return _key(replace(finding, target=target, file=self.files.get(finding.file, finding.file)))


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


def _older(revision: str, paths: Sequence[Path], options: AuditOptions) -> _Older:
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
    rows = [row.partition(b"\t") for row in _git(top, "ls-tree", "-r", "-z", merge_base).split(b"\0") if row]
    listed = {top / os.fsdecode(name): head.split(b" ") for head, _, name in rows}
    known = {
        file.path.parent.resolve() / file.path.name: file
        for file in collect(paths, options.root, options.exclude)
    }
    tops = [Path(p).resolve() for p in paths]
    older = _Older()
    wanted: list[tuple[SourceFile, bytes]] = []
    for path, (mode, _, object_id) in listed.items():
        file = known.get(path)
        if file is None:
            if not path.name.endswith(SUFFIXES) or path.exists():
                continue  # excluded now, excluded then
            if not any(path.is_relative_to(each) for each in tops):
                continue
            file = source_file(path, options.root, lambda directory: directory / "__init__.py" in listed)
        if mode == b"120000":
            # Git keeps where a link points to; what is there is no part of the revision.
            older.contents.append((file, None))
        else:
            wanted.append((file, object_id))
    # By object id: a name may hold a line break.
    answer = _git(top, "cat-file", "--batch", stdin=b"".join(one + b"\n" for _, one in wanted))
    older.contents[:0] = [(file, data) for (file, _), data in zip(wanted, _blobs(answer), strict=True)]
    then = {file.shown: file for file, _ in older.contents}
    for before, after in _renames(top, merge_base):
        was, now = then.get(shown_as(before, options.root)), known.get(after)
        if was is not None and now is not None:
            older.files[was.shown] = now.shown
            older.modules[was.module] = now.module
    return older


def _renames(top: Path, revision: str) -> list[tuple[Path, Path]]:
    """Files that have moved since the revision, as far as git knows: from where, to where."""
    answer = _git(top, "diff", "--no-ext-diff", "--name-status", "--diff-filter=R", "-M", "-z", revision)
    words = iter(answer.split(b"\0"))
    return [(top / os.fsdecode(next(words)), top / os.fsdecode(next(words))) for kind in words if kind]


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
