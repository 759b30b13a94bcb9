"""What a store keeps of one session, and what a save asks of it.

A session is stored in two parts. The *head* is one JSON document that each save replaces. The *log* is a list
that mostly grows (the messages): a save says how many of the stored items stay and which ones follow, so that
a turn writes what it adds, however long the history is.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

MAX_ID_BYTES = 512

KEPT_TOKENS = 40
"""Of how many last commits a store remembers the tokens: so many others may come between a commit whose
answer was lost and its repetition."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored session, or the part of it that was asked for.

    ``version`` counts the saves, ``epoch`` tells one life of an id from the next (deleted, then made again).
    ``log`` is the JSON text of the items from position ``log_start`` on; ``log_length`` and ``log_bytes``
    count the whole log.
    """

    id: str
    version: int
    epoch: str
    owner: str | None
    head: str
    log: str
    log_start: int
    log_length: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One compare-and-set: applied only if the stored record still is ``version`` of ``epoch``.

    Version 0 stands for "no such record". The first ``keep`` items of the log stay, ``append`` follows them.
    ``token`` makes the commit safe to send twice: a store that finds it already applied says so again.
    ``log_bytes`` is the size of the whole log afterwards, ``ttl`` the seconds until the record expires.
    ``holder`` is the session's lock, if the caller has it: while somebody else has it, no commit is applied.
    """

    id: str
    version: int
    epoch: str
    owner: str | None
    head: str
    keep: int
    append: tuple[str, ...]
    log_bytes: int
    ttl: float | None
    token: str
    holder: str | None = None

    @property
    def log_length(self) -> int:
        """The number of items in the log once this commit is applied."""
        return self.keep + len(self.append)


def new_token() -> str:
    """A name for one commit, one epoch or one lease that no other will ever have."""
    return secrets.token_hex(8)
