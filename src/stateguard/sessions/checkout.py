"""One request's hold on one session: load it, save what has changed, merge with what others saved."""

from __future__ import annotations

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
from stateguard.sessions.codec import SessionCodec
from stateguard.sessions.loaded import Loaded, text_of
from stateguard.sessions.merge import same
from stateguard.sessions.policy import Policy, Terms
from stateguard.sessions.reading import FORMAT, check_id, check_user_id, read_head, read_log
from stateguard.sessions.record import Commit, Record, new_token
from stateguard.sessions.settle import Packed, adopt, settle
from stateguard.sessions.steps import Step, Steps

log = logging.getLogger("stateguard.sessions")

T = TypeVar("T")


class Checkout(Generic[T]):
    """A loaded session and what is needed to save it.

    ``session`` is the application's object. ``is_new`` is true until the first save. A ``detached`` checkout
    is never saved: it stands in for a session that could not be loaded.
    """

    def __init__(self, session_id: str, policy: Policy, terms: Terms[T]) -> None:
        self.id = check_id(session_id)
        self.policy = policy
        self.terms = terms
        self.user_id = check_user_id(terms.user_id)
        self.codec = SessionCodec(terms.session_factory, terms.log)
        self.detached = False
        self.lock_token: str | None = None
        self.locked: list[str] = []
        self.unknown: dict[str, Any] = {}
        self.session: T
        self.loaded: Loaded
        self.unsettled: _Attempt | None = None
        self.refusal: SessionConflict | None = None

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
            self.lock_token, self.locked = token, [self.id]
            yield from self.unlock()
            raise
        self.lock_token, self.locked = token, [self.id]

    def unlock(self) -> Steps[None]:
        """Give the lock back, if this checkout has one."""
        token, self.lock_token = self.lock_token, None
        locked, self.locked = self.locked, []
        for session_id in locked:
            yield Step("release", (session_id, token))

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
                self.give(name, value)
            # What a fresh session holds is not worth a record: only what the application adds is.
            head = self.pack()[0]
            self.loaded = Loaded.new(self.user_id, head)
            return
        head, items = read_head(record), read_log(record)
        is_plain = '"$"' not in record.log
        self.session, self.unknown = self.codec.unpack(head, items, is_plain=is_plain)
        self.loaded = Loaded.of(record, head)

    def give(self, name: str, value: str | None) -> None:
        """Set a field of the session, if it has one of that name; a ``dict`` gets it."""
        session: Any = self.session
        if isinstance(session, dict):
            session.setdefault(name, value)
        elif hasattr(session, name):
            setattr(session, name, value)

    def rename(self, session_id: str) -> None:
        """Go by another id from now on; a ``session_id`` that the session holds follows."""
        session: Any = self.session
        if isinstance(session, dict) and session.get("session_id") == self.id:
            del session["session_id"]
        self.id = session_id
        self.give("session_id", session_id)

    def pack(self) -> tuple[dict[str, Any], list[Any] | None]:
        """The session's head, packed, with the fields of newer versions kept; and its log, not packed."""
        try:
            head, items = self.codec.pack(self.session)
        except RecursionError:
            raise self.too_deep() from None
        return {**self.unknown, **head}, items

    def packed(self) -> Packed:
        """The session, head and log packed."""
        head, items = self.pack()
        if items is None:
            return Packed(head, None)
        return Packed(head, [self.codec.pack_item(item, i, self.session) for i, item in enumerate(items)])

    def save(self) -> Steps[bool]:
        """Write what has changed since the session was loaded or last saved; whether there was anything.

        Raises :class:`SessionConflict`, :class:`SessionTooLarge` or :class:`SessionNotStorable`; then nothing
        was written. One save at a time: a second one that begins before the first has ended would take what
        the first one wrote for another request's.
        """
        if self.detached:
            return False
        if self.refusal is not None:
            raise self.refusal
        is_settled = yield from self.settle_former()
        head, items = self.pack()
        try:
            keep, append = self.changed_log(head, items)
        except RecursionError:
            raise self.too_deep() from None
        loaded = self.loaded
        is_unchanged = not append and keep == loaded.log_length and same(head, loaded.head)
        if is_unchanged and self.owner_after(loaded) == loaded.owner:
            return is_settled
        if not (yield from self.attempt(self.commit(loaded, head, keep, append), loaded)):
            yield from settle(self, self.packed())
        return True

    def attempt(
        self, commit: Commit, base: Loaded, merge: tuple[Packed, Packed] | None = None
    ) -> Steps[bool]:
        """Commit, made for the state ``base``; whether it was applied.

        ``merge`` is what the session held and what is to be saved in its place. A commit whose answer does
        not come (the request was cancelled, the connection broke) may have been applied: it is remembered,
        and sent again before anything else is saved. Its token lets the store apply it once.
        """
        self.unsettled = _Attempt(commit, base, merge)
        is_applied: bool = yield Step("commit", (commit,))
        self.unsettled = None
        if is_applied:
            self.loaded = base.after(commit)
            if merge is not None:
                try:
                    adopt(self, *merge)
                except SessionConflict as error:
                    self.refusal = error
                    raise
        return is_applied

    def settle_former(self) -> Steps[bool]:
        """Send the commit again of which it is not known whether it was applied; whether it is now."""
        former = self.unsettled
        if former is None:
            return False
        return (yield from self.attempt(former.commit, former.base, former.merge))

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
        count = 0 if items is None else len(items)
        return self.unsettled is not None or count != self.loaded.count or not same(head, self.loaded.head)

    def changed_log(self, head: dict[str, Any], items: list[Any] | None) -> tuple[int, tuple[str, ...]]:
        """How many stored items stay, and the texts of those to put after them."""
        loaded = self.loaded
        if items is None:  # the session has no such list, or has put something else in its place
            return (0 if self.codec.log in head else loaded.log_length), ()
        if loaded.begins(items):
            kept = loaded.count
        else:
            kept = 0
            for packed, item in zip(loaded.items(), items, strict=False):
                if not same(packed, self.codec.pack_item(item, kept, self.session)):
                    break
                kept += 1
        append = tuple(
            text_of(self.codec.pack_item(item, index, self.session), self.codec.log)
            for index, item in enumerate(items[kept:], kept)
        )
        return loaded.log_start + kept, append

    def owner_after(self, loaded: Loaded) -> str | None:
        """Whose the session is once it is saved: a session belongs to the first user it is saved for."""
        return loaded.owner if loaded.owner is not None else self.user_id

    def commit(self, base: Loaded, head: dict[str, Any], keep: int, append: tuple[str, ...]) -> Commit:
        """The compare-and-set that makes this of ``base``; raises :class:`SessionTooLarge`."""
        text = text_of({"format": FORMAT, "fields": head}, "the session")
        log_bytes = base.bytes_of_first(keep) + sum(map(len, append))
        if len(text) + log_bytes > self.policy.max_bytes:
            raise SessionTooLarge(
                f"session {self.id!r} would take {len(text) + log_bytes} bytes, and max_bytes is "
                f"{self.policy.max_bytes}. It stays as it was. Shorten its history, or raise max_bytes",
                self.id,
            )
        return Commit(
            id=self.id,
            version=base.version,
            epoch=base.epoch,
            owner=self.owner_after(base),
            head=text,
            keep=keep,
            append=append,
            log_bytes=log_bytes,
            ttl=self.policy.ttl,
            token=new_token(),
            holder=self.lock_token,
        )


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit that has been sent and not been answered."""

    commit: Commit
    base: Loaded
    merge: tuple[Packed, Packed] | None
