"""Suppression comments: found by the tokenizer, so that a string that looks like one is none."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

from stateguard.audit.facts import Suppression

MARK = "stateguard:"
_NO_CODE = (tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
_COMMENT = re.compile(
    r"#\s*stateguard:\s*(?P<verb>ignore-file|ignore)\s*(?:\[(?P<codes>[^\]]*)\])?[ \t]*(?P<reason>[^#\r\n]*)"
)


def suppressions(source: str) -> list[Suppression]:
    """Every suppression comment of a file. A comment on a line of its own covers the next line of code."""
    if MARK not in source:
        return []
    lines = source.splitlines()
    found = []
    for number, column, text, statement in _comments(source):
        match = _COMMENT.search(text)
        if match is None:
            continue
        codes = tuple(c.strip().upper() for c in (match["codes"] or "").split(",") if c.strip())
        target, begins = number, statement
        if number <= len(lines) and lines[number - 1].lstrip().startswith("#"):
            while target < len(lines) and _is_between(lines[target]):
                target += 1
            target += 1
            begins = target
        whole = match["verb"] == "ignore-file"
        reason = match["reason"].strip(" -:")
        found.append(Suppression(target, column + match.start() + 1, codes, reason, whole, begins))
    return found


def _is_between(line: str) -> bool:
    """Blank lines, comments and decorators may stand between a comment and what it covers."""
    stripped = line.strip()
    return not stripped or stripped.startswith(("#", "@"))


def _comments(source: str) -> Iterator[tuple[int, int, str, int]]:
    """``(line, column, text, begins)`` of the comments, as far as the file can be tokenized.

    ``begins`` is the first line of the statement that ends before the comment, or the comment's own.
    """
    statement = 0
    last: tokenize.TokenInfo | None = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if last is not None:
                begins = statement if token.type == tokenize.NEWLINE and statement else last.start[0]
                yield last.start[0], last.start[1], last.string, begins
                last = None
            if token.type == tokenize.COMMENT:
                last = token if MARK in token.string else None
            elif token.type == tokenize.NEWLINE:
                statement = 0
            elif token.type not in _NO_CODE and not statement:
                statement = token.start[0]
    except (tokenize.TokenError, SyntaxError):
        return
