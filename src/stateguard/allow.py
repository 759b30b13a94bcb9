"""Exemptions: which changes are meant, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stateguard.errors import ConfigError
from stateguard.presets import expand
from stateguard.watch.patterns import glob_match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_MARK = "#(?![0-9a-f]{6}>)"
"""Begins the reason. Not so the ``#`` of a key that a report shows as a hash: ``[<str #8b1a9f>]``."""


class Allowance:
    """One entry of ``allow``: ``"myapp.cache:*  # bounded memo cache"``."""

    __slots__ = ("hits", "matches", "preset", "reason", "text")

    def __init__(self, text: str, reason: str, matches: Callable[[str], bool], preset: bool = False) -> None:
        self.text = text
        self.reason = reason
        self.matches = matches
        self.preset = preset
        """Whether it comes from a preset: of those, nobody is told that they match nothing."""
        self.hits = 0


class AllowList:
    """All exemptions of a guard; counts what each one let pass."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = [_parse(entry, preset) for entry, preset in expand(list(entries))]

    def allows(self, path: str, root: str) -> bool:
        """Whether a change at ``path`` below ``root`` is meant."""
        for entry in self._entries:
            if entry.matches(path) or entry.matches(root):
                entry.hits += 1
                return True
        return False

    def unused(self) -> list[str]:
        """The entries that have let nothing pass so far: candidates for removal."""
        return [entry.text for entry in self._entries if not entry.hits and not entry.preset]

    def hits(self) -> dict[str, int]:
        """How often each entry has let something pass."""
        return {entry.text: entry.hits for entry in self._entries if not entry.preset}


def _parse(entry: str, preset: bool) -> Allowance:
    path, *reasons = re.split(_MARK, entry, maxsplit=1)
    path = path.strip()
    if not path:
        raise ConfigError(f"allow entry {entry!r} names no path; write 'myapp.module:NAME  # reason'")
    return Allowance(entry, "".join(reasons).strip(), glob_match(path.replace(":", ".")), preset)
