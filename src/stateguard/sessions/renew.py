"""Giving a session a new id at log-in, so that whoever knew the old one has nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stateguard.errors import SessionConflict
from stateguard.sessions.codec import dumps
from stateguard.sessions.loaded import Loaded, text_of
from stateguard.sessions.reading import FORMAT, check_id, read_log
from stateguard.sessions.record import Commit, new_token
from stateguard.sessions.settle import settle
from stateguard.sessions.steps import Step, Steps

if TYPE_CHECKING:
    from stateguard.sessions.checkout import Checkout

ATTEMPTS = 20


def renew(checkout: Checkout[Any], new_id: str) -> Steps[None]:
    """Save the session, and move its record to ``new_id``; other requests find the old id empty.

    What others save under the old id until the move is moved with it; what they want to save afterwards is
    refused as a conflict. Raises :class:`SessionConflict` if they save faster than the record can be moved.
    """
    old_id = checkout.id
    check_id(new_id)
    if checkout.lock_token is not None:
        yield Step("acquire", (new_id, checkout.lock_token, checkout.policy.lock_lease))
        checkout.locked.append(new_id)
    for _ in range(ATTEMPTS):
        yield from checkout.save()
        loaded = checkout.loaded
        if not loaded.version:  # not stored yet: there is nothing to move
            checkout.rename(new_id)
            checkout.loaded = Loaded.new(loaded.owner, {**loaded.head, **_id_field(checkout)})
            return
        record = yield Step("read", (old_id,), {"start": 0})
        if record is None or (record.version, record.epoch) != (loaded.version, loaded.epoch):
            yield from settle(checkout, checkout.packed())  # others have saved: take it along
            continue
        checkout.rename(new_id)
        commit = Commit(
            id=new_id,
            version=0,
            epoch=new_token(),
            owner=record.owner,
            head=text_of({"format": FORMAT, "fields": checkout.pack()[0]}, "the session"),
            keep=0,
            append=tuple(map(dumps, read_log(record))),
            log_bytes=record.log_bytes,
            ttl=checkout.policy.ttl,
            token=new_token(),
            holder=checkout.lock_token,
        )
        yield Step("commit", (commit,))
        if (yield Step("delete", (old_id,), {"version": loaded.version, "epoch": loaded.epoch})):
            head = {**loaded.head, **_id_field(checkout)}
            checkout.loaded = dataclasses.replace(loaded, version=1, epoch=commit.epoch, head=head)
            return
        yield Step("delete", (new_id,))
        checkout.rename(old_id)
    raise SessionConflict(
        f"session {old_id!r}: others save faster than it can be given a new id. It keeps the old one", old_id
    )


def _id_field(checkout: Checkout[Any]) -> dict[str, Any]:
    head = checkout.pack()[0]
    return {"session_id": head["session_id"]} if "session_id" in head else {}
