"""One request's hold on one session: load it, save what has changed, merge with what others saved."""

from __future__ import annotations

import itertools
import json
import logging
import random
import time
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from stateguard.errors import (
    SessionConflict,
    SessionDenied,
    SessionLocked,
    SessionNotStorable,
    SessionTooLarge,
)
from stateguard.sessions.codec import SessionCodec, dumps
from stateguard.sessions.merge import Conflict, same, three_way
from stateguard.sessions.policy import Policy, Terms
from stateguard.sessions.reading import FORMAT, check_id, read_head, read_log
from stateguard.sessions.record import Commit, Record, new_token
from stateguard.sessions.steps import Step, Steps

log = logging.getLogger("stateguard.sessions")

T = TypeVar("T")


@dataclass(slots=True)
class _Loaded:
    """What the session looked like in the store when it was loaded or last saved."""

    version: int
    epoch: str
    owner: str | None
    head: dict[str, Any]
    log: str
    log_start: int
    log_length: int
    log_bytes: int

    def items(self) -> list[Any]:
        items: list[Any] = json.loads(self.log)
        return items


class Checkout(Generic[T]):
    """A loaded session and what is needed to save it.

    ``session`` is the application's object. ``is_new`` is true until the first save. A ``detached`` checkout
    is never saved: it stands in for a session that could not be loaded.
    """

    def __init__(self, session_id: str, policy: Policy, terms: Terms[T]) -> None:
        self.id = check_id(session_id)
        self.policy = policy
        self.terms = terms
        # Stores keep owners as text; a user id that is a number must still be its own owner the next time.
        self.user_id = None if terms.user_id is None or terms.user_id == "" else str(terms.user_id)
        self.codec = SessionCodec(terms.session_factory, terms.log)
        self.detached = False
        self.lock_token: str | None = None
        self.unknown: dict[str, Any] = {}
        self.session: T
        self.loaded: _Loaded

    @property
    def is_new(self) -> bool:
        """Whether the store has no record of this session yet."""
        return self.loaded.version == 0

    def open(self) -> Steps[None]:
        """Load the session, or make a fresh one when the store has none.

        Raises :class:`SessionDenied` before anything is unpacked when it belongs to somebody else.
        """
        if self.policy.on_conflict == "lock":
            yield from self.lock()
        try:
            record = yield Step("read", (self.id,), {"window": self.policy.window})
            self.check_owner(record)
            self.take(record)
        except BaseException:
            yield from self.unlock()
            raise

    def fresh(self) -> None:
        """Start with a fresh session, without asking the store: a new id, or a store that does not answer."""
        self.take(None)

    def lock(self) -> Steps[None]:
        """Wait for the conversation's lock; raises :class:`SessionLocked` after ``lock_wait`` seconds."""
        token = new_token()
        deadline = time.monotonic() + self.policy.lock_wait
        pause = 0.005
        try:
            while not (yield Step("acquire", (self.id, token, self.policy.lock_lease))):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise SessionLocked(
                        f"session {self.id!r}: another request of this conversation holds it, and did so for "
                        f"the {self.policy.lock_wait:g} s that this one waited (lock_wait=)",
                        self.id,
                    )
                yield Step("sleep", (min(left, pause * (0.5 + random.random())),))
                pause = min(pause * 1.5, 0.25)
        except (Exception, GeneratorExit):
            raise
        except BaseException:  # cancelled: the store may have given the lock without our hearing of it
            self.lock_token = token
            yield from self.unlock()
            raise
        self.lock_token = token

    def unlock(self) -> Steps[None]:
        """Give the lock back, if this checkout has one."""
        token, self.lock_token = self.lock_token, None
        if token is not None:
            yield Step("release", (self.id, token))

    def check_owner(self, record: Record | None) -> None:
        """Raise :class:`SessionDenied` when the record belongs to a user other than the one asking."""
        if record is not None and record.owner is not None and record.owner != self.user_id:
            log.warning("session %r belongs to another user: request denied, session not loaded", self.id)
            raise SessionDenied(f"session {self.id!r} belongs to another user", self.id)

    def take(self, record: Record | None) -> None:
        """Make the session from a record, or fresh from the factory."""
        if record is None:
            self.session, self.unknown = self.codec.factory(), {}
            for name, value in (("session_id", self.id), ("user_id", self.user_id)):
                if isinstance(self.session, dict):
                    self.session.setdefault(name, value)
                elif hasattr(self.session, name):
                    setattr(self.session, name, value)
            # What a fresh session holds is not worth a record: only what the application adds is.
            head = self.pack()[0]
            self.loaded = _Loaded(0, new_token(), self.user_id, head, "[]", 0, 0, 0)
            return
        head, items = read_head(record), read_log(record)
        is_plain = '"$"' not in record.log
        self.session, self.unknown = self.codec.unpack(head, items, is_plain=is_plain)
        self.loaded = _loaded(record, head)

    def pack(self) -> tuple[dict[str, Any], list[Any] | None]:
        """The session's head, packed, with the fields of newer versions kept; and its log, not packed."""
        try:
            head, items = self.codec.pack(self.session)
        except RecursionError:
            raise self.too_deep() from None
        return {**self.unknown, **head}, items

    def save(self) -> Steps[bool]:
        """Write what has changed since the session was loaded or last saved; whether there was anything.

        Raises :class:`SessionConflict`, :class:`SessionTooLarge` or :class:`SessionNotStorable`; then nothing
        was written.
        """
        if self.detached:
            return False
        head, items = self.pack()
        try:
            keep, append = self.changed_log(head, items)
        except RecursionError:
            raise self.too_deep() from None
        loaded = self.loaded
        owner = loaded.owner if loaded.owner is not None else self.user_id
        is_unchanged = not append and keep == loaded.log_length and same(head, loaded.head)
        if is_unchanged and owner == loaded.owner:
            return False
        token = new_token()
        commit = self.commit(head, keep, append, owner, token)
        if (yield Step("commit", (commit,))):
            self.saved(commit, append)
            return True
        yield from self.settle(head, items)
        return True

    def too_deep(self) -> SessionNotStorable:
        """The error for a session nested deeper than Python recurses, or in a circle."""
        return SessionNotStorable(
            f"session {self.id!r}: contains itself, or is nested too deeply for JSON. It was not saved",
            self.id,
        )

    def has_grown(self) -> bool:
        """Whether there is something to save, by a look at the fields and at the number of messages.

        Costs the same however long the history is, and misses edits inside it: :meth:`save` finds those.
        """
        if self.detached:
            return False
        head, items = self.pack()
        return (0 if items is None else len(items)) != _count(self.loaded) or not same(head, self.loaded.head)

    def changed_log(self, head: dict[str, Any], items: list[Any] | None) -> tuple[int, tuple[str, ...]]:
        """How many stored items stay, and the texts of those to put after them."""
        loaded = self.loaded
        if items is None:  # the session has no such list, or has put something else in its place
            return (0 if self.codec.log in head else loaded.log_length), ()
        before = _count(loaded)
        if len(items) >= before and _is_text(items[:before], loaded.log):
            kept = before
        else:
            old = loaded.items()
            kept = 0
            for packed, item in zip(old, items, strict=False):
                if not same(packed, self.codec.pack_item(item, kept, self.session)):
                    break
                kept += 1
        append = tuple(
            _text(self.codec.pack_item(item, index, self.session), self.codec.log)
            for index, item in enumerate(items[kept:], kept)
        )
        return loaded.log_start + kept, append

    def commit(
        self, head: dict[str, Any], keep: int, append: tuple[str, ...], owner: str | None, token: str
    ) -> Commit:
        """The compare-and-set that stores this; raises :class:`SessionTooLarge`."""
        loaded = self.loaded
        text = _text({"format": FORMAT, "fields": head}, "the session")
        kept_bytes = loaded.log_bytes if keep else 0
        if 0 < keep < loaded.log_length:
            kept_bytes -= sum(len(dumps(item)) for item in loaded.items()[keep - loaded.log_start :])
        log_bytes = kept_bytes + sum(map(len, append))
        if len(text) + log_bytes > self.policy.max_bytes:
            raise SessionTooLarge(
                f"session {self.id!r} would take {len(text) + log_bytes} bytes, and max_bytes is "
                f"{self.policy.max_bytes}. It stays as it was. Shorten its history, or raise max_bytes",
                self.id,
            )
        return Commit(
            id=self.id,
            version=loaded.version,
            epoch=loaded.epoch,
            owner=owner,
            head=text,
            keep=keep,
            append=append,
            log_bytes=log_bytes,
            ttl=self.policy.ttl,
            token=token,
            holder=self.lock_token,
        )

    def saved(self, commit: Commit, append: tuple[str, ...]) -> None:
        """Remember what the store holds now, so that a second save in the same request writes only more."""
        loaded = self.loaded
        stays = max(commit.keep - loaded.log_start, 0)
        if stays == _count(loaded):
            text = _join(loaded.log, append)
        else:
            text = _join(dumps(loaded.items()[:stays]), append)
        head = json.loads(commit.head)["fields"]
        self.loaded = _Loaded(
            commit.version + 1,
            commit.epoch,
            commit.owner,
            head,
            text,
            min(loaded.log_start, commit.keep),
            commit.log_length,
            commit.log_bytes,
        )

    def settle(self, head: dict[str, Any], items: list[Any] | None) -> Steps[None]:
        """The record was changed by somebody else since it was loaded: merge, or raise."""
        mine = None
        if items is not None:
            mine = [self.codec.pack_item(item, index, self.session) for index, item in enumerate(items)]
        base = self.loaded
        deadline = time.monotonic() + self.policy.lock_wait
        for attempt in itertools.count():
            record = yield Step("read", (self.id,), {"start": base.log_start})
            self.check_owner(record)
            self.loaded = base
            merged_head, merged_items = head, mine
            now = (0, base.epoch) if record is None else (record.version, record.epoch)
            if now == (base.version, base.epoch):
                # Nothing has changed: somebody holds the lock.
                keep, append = self.changed_log(head, items)
            else:
                found = self.check_mergeable(record, base)
                their_head, their_items = read_head(found), read_log(found)
                if found.version > base.version:
                    merged_head, merged_items = self.merged(base, head, mine, their_head, their_items)
                self.loaded = _loaded(found, their_head)
                keep, append = _difference(their_items, merged_items, found)
            owner = self.loaded.owner if self.loaded.owner is not None else self.user_id
            commit = self.commit(merged_head, keep, append, owner, new_token())
            if (yield Step("commit", (commit,))):
                self.saved(commit, append)
                self.show(merged_head, merged_items)
                return
            self.loaded = base
            if time.monotonic() > deadline:
                break
            if attempt:
                yield Step("sleep", (random.random() * min(0.002 * 2 ** min(attempt, 10), 0.1),))
        raise SessionConflict(
            f"session {self.id!r}: locked, or changed by others faster than this request could merge with "
            f"them, for {self.policy.lock_wait:g} s (lock_wait=). Nothing was saved",
            self.id,
        )

    def check_mergeable(self, record: Record | None, base: _Loaded) -> Record:
        """The record to merge with; raises :class:`SessionConflict` if there is none, or none wanted.

        A record of a lower version means that the store has lost confirmed data: it is written over.
        """
        if record is None or (base.version and record.epoch != base.epoch):
            raise SessionConflict(
                f"session {self.id!r} was deleted, or has expired, while this request used it. Nothing was "
                "saved, so that what was removed does not come back",
                self.id,
            )
        if base.version and record.version < base.version:
            log.error(
                "session %r: the store holds version %d, but confirmed version %d before: it has lost "
                "confirmed data (failover or restored backup). Writing back what this request holds",
                self.id,
                record.version,
                base.version,
            )
        elif self.policy.on_conflict == "raise":
            raise SessionConflict(
                f"session {self.id!r} was changed by another request since this one loaded it (version "
                f"{base.version}, now {record.version}). Nothing was saved; try again",
                self.id,
            )
        return record

    def merged(
        self,
        base: _Loaded,
        head: dict[str, Any],
        mine: list[Any] | None,
        their_head: dict[str, Any],
        their_items: list[Any],
    ) -> tuple[dict[str, Any], list[Any] | None]:
        """Head and log with both requests' changes; raises :class:`SessionConflict` naming the paths."""
        name = self.codec.log or ""
        sides = [dict(base.head), dict(head), dict(their_head)]
        if mine is not None:
            for side, items in zip(sides, (base.items(), mine, their_items), strict=True):
                side[name] = items
        try:
            merged = three_way(sides[0], sides[1], sides[2], self.policy.merge)
        except Conflict as conflict:
            raise SessionConflict(
                f"session {self.id!r}: another request changed {', '.join(conflict.paths)} too, to something "
                "else. Nothing was saved; try again, or decide with merge={path: rule}",
                self.id,
                conflict.paths,
            ) from None
        merged_items: list[Any] | None = merged.pop(name, None) if mine is not None else None
        return merged, merged_items

    def show(self, head: dict[str, Any], items: list[Any] | None) -> None:
        """Let the application's session hold what was saved, the other request's part included."""
        fresh, self.unknown = self.codec.unpack(head, items or [])
        if isinstance(self.session, dict) and isinstance(fresh, dict):
            self.session.clear()
            self.session.update(fresh)
            return
        for name in head.keys() | ({self.codec.log} if items is not None else set()):
            if name in self.unknown or name is None:
                continue
            value = getattr(fresh, name)
            old = getattr(self.session, name, None)
            if isinstance(old, list) and isinstance(value, list):
                old[:] = value  # the application may hold the list itself
            elif isinstance(old, dict) and isinstance(value, dict):
                old.clear()
                old.update(value)
            else:
                setattr(self.session, name, value)


def _loaded(record: Record, head: dict[str, Any]) -> _Loaded:
    return _Loaded(
        record.version,
        record.epoch,
        record.owner,
        head,
        record.log,
        record.log_start,
        record.log_length,
        record.log_bytes,
    )


def _count(loaded: _Loaded) -> int:
    return max(loaded.log_length - loaded.log_start, 0)


def _is_text(items: list[Any], text: str) -> bool:
    """Whether the items are exactly what was loaded: one pass of the C encoder, and a comparison."""
    try:
        return dumps(items) == text
    except (TypeError, ValueError, RecursionError):
        return False  # values that are stored under a tag: compared one by one


def _text(packed: Any, place: str | None) -> str:
    try:
        return dumps(packed)
    except (ValueError, RecursionError) as error:
        raise SessionNotStorable(f"{place} can not be written as JSON: {error}") from error


def _join(text: str, append: tuple[str, ...]) -> str:
    if not append:
        return text
    more = ",".join(append)
    return f"[{more}]" if text == "[]" else f"{text[:-1]},{more}]"


def _difference(stored: list[Any], wanted: list[Any] | None, record: Record) -> tuple[int, tuple[str, ...]]:
    if wanted is None:
        return record.log_length, ()
    kept = 0
    for one, other in zip(stored, wanted, strict=False):
        if not same(one, other):
            break
        kept += 1
    return record.log_start + kept, tuple(map(dumps, wanted[kept:]))
