"""What the store held of a session when it was loaded or last saved: what the next save is compared with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stateguard.errors import SessionNotStorable
from stateguard.sessions.codec import dumps
from stateguard.sessions.merge import same
from stateguard.sessions.record import Commit, Record, new_token


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session as the store has it: its packed head, and the text of the log from ``log_start`` on."""

    version: int
    epoch: str
    owner: str | None
    head: dict[str, Any]
    log: str
    log_start: int
    log_length: int
    log_bytes: int

    @classmethod
    def new(cls, owner: str | None, head: dict[str, Any]) -> Loaded:
        """A session that the store does not have yet; ``head`` is what a fresh one holds."""
        return cls(0, new_token(), owner, head, "[]", 0, 0, 0)

    @classmethod
    def of(cls, record: Record, head: dict[str, Any]) -> Loaded:
        """What ``record`` holds, with its head parsed."""
        return cls(
            record.version,
            record.epoch,
            record.owner,
            head,
            record.log,
            record.log_start,
            record.log_length,
            record.log_bytes,
        )

    @property
    def count(self) -> int:
        """How many items of the log were loaded."""
        return max(self.log_length - self.log_start, 0)

    def items(self) -> list[Any]:
        """The loaded items, packed."""
        items: list[Any] = json.loads(self.log)
        return items

    def bytes_of_first(self, keep: int) -> int:
        """The size of the log's first ``keep`` items, of which none before the loaded ones may be cut."""
        if not keep:
            return 0
        if keep >= self.log_length:
            return self.log_bytes
        return self.log_bytes - sum(len(dumps(item)) for item in self.items()[keep - self.log_start :])

    def after(self, commit: Commit) -> Loaded:
        """What the store holds once ``commit``, made for this state, is applied."""
        stays = max(commit.keep - self.log_start, 0)
        text = self.log if stays == self.count else dumps(self.items()[:stays])
        return Loaded(
            commit.version + 1,
            commit.epoch,
            commit.owner,
            json.loads(commit.head)["fields"],
            _join(text, commit.append),
            min(self.log_start, commit.keep),
            commit.log_length,
            commit.log_bytes,
        )

    def difference(self, wanted: list[Any] | None) -> tuple[int, tuple[str, ...]]:
        """How many items stay, and the texts of those to put after them, to get from here to ``wanted``."""
        if wanted is None:
            return self.log_length, ()
        kept = 0
        for one, other in zip(self.items(), wanted, strict=False):
            if not same(one, other):
                break
            kept += 1
        return self.log_start + kept, tuple(map(dumps, wanted[kept:]))

    def begins(self, items: list[Any]) -> bool:
        """Whether the first of ``items`` are what was loaded: one pass of C code, no matter how many."""
        if len(items) < self.count:
            return False
        try:
            return dumps(items[: self.count]) == self.log
        except (TypeError, ValueError, RecursionError):
            return False  # values that are stored under a tag: compared one by one


def text_of(packed: Any, place: str | None) -> str:
    """The JSON text of a packed value; raises :class:`SessionNotStorable` naming the place."""
    try:
        return dumps(packed)
    except (ValueError, RecursionError) as error:
        raise SessionNotStorable(f"{place} can not be written as JSON: {error}") from error


def _join(text: str, append: tuple[str, ...]) -> str:
    if not append:
        return text
    more = ",".join(append)
    return f"[{more}]" if text == "[]" else f"{text[:-1]},{more}]"
