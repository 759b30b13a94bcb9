"""Suppression comments: found by the tokenizer, so that a string that looks like one is none."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

from stateguard.audit.facts import Suppression

MARK = "stateguard:"
_COMMENT = re.compile(
    r"#\s*stateguard:\s*(?P<verb>ignore-file|ignore)\s*(?:\[(?P<codes>[^\]]*)\])?[ \t]*(?P<reason>[^#\r\n]*)"
)


def suppressions(source: str) -> list[Suppression]:
    """Every suppression comment of a file. A comment on a line of its own covers the next line of code."""
    if MARK not in source:
        return []
    lines = source.splitlines()
    found = []
    for number, column, text in _comments(source):
        match = _COMMENT.search(text)
        if match is None:
            continue
        codes = tuple(c.strip().upper() for c in (match["codes"] or "").split(",") if c.strip())
        target = number
        if number <= len(lines) and lines[number - 1].lstrip().startswith("#"):
            while target < len(lines) and _is_between(lines[target]):
                target += 1
            target += 1
        whole = match["verb"] == "ignore-file"
        reason = match["reason"].strip(" -:")
        found.append(Suppression(target, column + match.start() + 1, codes, reason, whole))
    return found


def _is_between(line: str) -> bool:
    """Blank lines, comments and decorators may stand between a comment and what it covers."""
    stripped = line.strip()
    return not stripped or stripped.startswith(("#", "@"))


def _comments(source: str) -> Iterator[tuple[int, int, str]]:
    """``(line, column, text)`` of the comments, as far as the file can be tokenized."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and MARK in token.string:
                yield token.start[0], token.start[1], token.string
    except (tokenize.TokenError, SyntaxError):
        return
