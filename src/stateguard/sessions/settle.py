"""A save that finds the record changed by somebody else: merge with what they saved, or refuse."""

from __future__ import annotations

import itertools
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stateguard.errors import SessionConflict
from stateguard.sessions.loaded import Loaded
from stateguard.sessions.merge import Conflict, same, three_way
from stateguard.sessions.reading import read_head, read_log
from stateguard.sessions.record import Record
from stateguard.sessions.steps import Step, Steps

if TYPE_CHECKING:
    from stateguard.sessions.checkout import Checkout

log = logging.getLogger("stateguard.sessions")


@dataclass(frozen=True, slots=True)
class Packed:
    """A session's fields and its log (``None`` if it has none), JSON-ready."""

    head: dict[str, Any]
    items: list[Any] | None


def settle(checkout: Checkout[Any], mine: Packed) -> Steps[None]:
    """Save ``mine`` although others have saved since it was loaded: merged with theirs.

    Raises :class:`SessionConflict` when it can not be merged, or the policy is not to. Nothing was saved
    then, and the checkout still compares with what it had loaded.
    """
    base = checkout.loaded
    deadline = time.monotonic() + checkout.policy.lock_wait
    for attempt in itertools.count():
        record = yield Step("read", (checkout.id,), {"start": base.log_start})
        checkout.check_owner(record)
        now = (0, base.epoch) if record is None else (record.version, record.epoch)
        if now == (base.version, base.epoch):
            # Nothing has changed: somebody holds the lock.
            start, merged = base, mine
        else:
            found = _mergeable(checkout, record, base)
            start = Loaded.of(found, read_head(found))
            merged = mine
            if found.version > base.version:
                merged = _merged(checkout, _packed(base, mine), mine, Packed(start.head, read_log(found)))
        keep, append = start.difference(merged.items)
        commit = checkout.commit(start, merged.head, keep, append)
        if (yield from checkout.attempt(commit, start, None if merged is mine else (mine, merged))):
            return
        if time.monotonic() > deadline:
            break
        if attempt:
            yield Step("sleep", (random.random() * min(0.002 * 2 ** min(attempt, 10), 0.1),))
    raise SessionConflict(
        f"session {checkout.id!r}: locked, or changed by others faster than this request could merge with "
        f"them, for {checkout.policy.lock_wait:g} s (lock_wait=). Nothing was saved",
        checkout.id,
    )


def adopt(checkout: Checkout[Any], mine: Packed, merged: Packed) -> None:
    """Let the application's session hold what was saved, the other request's part included.

    The application may have gone on since ``mine`` was packed (another task of the same request): what it
    has changed meanwhile stays. Raises :class:`SessionConflict` if that contradicts what was merged.
    """
    now = checkout.packed()
    if not _equal(now, mine):
        merged = _merged(
            checkout, mine, now, merged, "What this request changed before was saved, this was not"
        )
    fresh, checkout.unknown = checkout.codec.unpack(merged.head, merged.items or [])
    session = checkout.session
    if isinstance(session, dict) and isinstance(fresh, dict):
        session.clear()
        session.update(fresh)
        return
    names = set(merged.head)
    if merged.items is not None and checkout.codec.log is not None:
        names.add(checkout.codec.log)
    for name in names - checkout.unknown.keys():
        value = getattr(fresh, name)
        old = getattr(session, name, None)
        if isinstance(old, list) and isinstance(value, list):
            old[:] = value  # the application may hold the list itself
        elif isinstance(old, dict) and isinstance(value, dict):
            old.clear()
            old.update(value)
        else:
            setattr(session, name, value)


def _packed(loaded: Loaded, like: Packed) -> Packed:
    return Packed(loaded.head, None if like.items is None else loaded.items())


def _equal(one: Packed, other: Packed) -> bool:
    return same(one.head, other.head) and same(one.items, other.items)


def _mergeable(checkout: Checkout[Any], record: Record | None, base: Loaded) -> Record:
    """The record to merge with; raises :class:`SessionConflict` if there is none, or none wanted.

    A record of a lower version means that the store has lost confirmed data: it is written over.
    """
    if record is None or (base.version and record.epoch != base.epoch):
        raise SessionConflict(
            f"session {checkout.id!r} was deleted, or has expired, while this request used it. Nothing was "
            "saved, so that what was removed does not come back",
            checkout.id,
        )
    if base.version and record.version < base.version:
        log.error(
            "session %r: the store holds version %d, but confirmed version %d before: it has lost "
            "confirmed data (failover or restored backup). Writing back what this request holds",
            checkout.id,
            record.version,
            base.version,
        )
    elif checkout.policy.on_conflict == "raise":
        raise SessionConflict(
            f"session {checkout.id!r} was changed by another request since this one loaded it (version "
            f"{base.version}, now {record.version}). Nothing was saved; try again",
            checkout.id,
        )
    return record


def _merged(
    checkout: Checkout[Any], base: Packed, mine: Packed, theirs: Packed, outcome: str = "Nothing was saved"
) -> Packed:
    """Head and log with both sides' changes; raises :class:`SessionConflict` naming the paths."""
    name = checkout.codec.log or ""
    sides = [dict(side.head) for side in (base, mine, theirs)]
    if mine.items is not None:
        for side, packed in zip(sides, (base, mine, theirs), strict=True):
            side[name] = packed.items or []
    try:
        merged = three_way(sides[0], sides[1], sides[2], checkout.policy.merge)
    except Conflict as conflict:
        raise SessionConflict(
            f"session {checkout.id!r}: another request changed {', '.join(conflict.paths)} too, to something "
            f"else. {outcome}; try again, or decide with merge={{path: rule}}",
            checkout.id,
            conflict.paths,
        ) from None
    items: list[Any] | None = merged.pop(name, None) if mine.items is not None else None
    return Packed(merged, items)
