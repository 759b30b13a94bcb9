"""Reading what may not be as it should: ids from outside, records from a store."""

from __future__ import annotations

import json
from typing import Any

from stateguard.errors import ConfigError, SessionIdRefused, SessionRecordError
from stateguard.sessions.record import MAX_ID_BYTES, Record

FORMAT = 1
"""The version of the head's layout; a record of a higher one was written by a newer stateguard."""


def check_id(session_id: str) -> str:
    """The id itself; raises :class:`SessionIdRefused` for what no store should be asked for."""
    if not isinstance(session_id, str) or not session_id:
        raise SessionIdRefused(f"a session id is a text that is not empty, not {session_id!r}")
    try:
        size = len(session_id.encode("utf-8"))
    except UnicodeEncodeError:
        size = MAX_ID_BYTES + 1
    if size > MAX_ID_BYTES or not session_id.isprintable():
        raise SessionIdRefused(
            f"a session id has at most {MAX_ID_BYTES} bytes of UTF-8, all printable; got {session_id[:40]!r}"
        )
    return session_id


def check_user_id(user_id: object) -> str | None:
    """The user's id as stores keep it; ``None`` for nobody (``None``, ``""``, ``False``).

    Stores keep owners as text; a user id that is a number must still be its own owner the next time. Raises
    :class:`SessionIdRefused` for no Unicode, and :class:`ConfigError` for an object that has no text of its
    own: it would be another owner each time.
    """
    if user_id is None or user_id is False or user_id == "":
        return None
    kind = type(user_id)
    if hasattr(kind, "__await__") or (kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__):
        raise ConfigError(
            f"user_id= gave a {kind.__name__}: it must give a text or a number that stays the same"
        )
    text = str(user_id)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SessionIdRefused(f"a user id that is no Unicode text: {text[:40]!r}") from error
    return text


def read_head(record: Record) -> dict[str, Any]:
    """The fields of a record's head; raises :class:`SessionRecordError` when it is not one of ours."""
    try:
        document = json.loads(record.head)
        written, fields = document["format"], document["fields"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SessionRecordError(
            f"the record of session {record.id!r} is damaged or was not written by stateguard ({error!r}). "
            "It was left as it is; delete it to start afresh",
            record.id,
        ) from error
    if not isinstance(written, int) or written > FORMAT or not isinstance(fields, dict):
        raise SessionRecordError(
            f"the record of session {record.id!r} has format {written!r}, and this version of stateguard "
            f"reads up to {FORMAT}. It was left as it is",
            record.id,
        )
    return fields


def read_log(record: Record) -> list[Any]:
    """The items of a record's log; raises :class:`SessionRecordError` when they are damaged."""
    try:
        items = json.loads(record.log)
    except (ValueError, RecursionError) as error:
        items = error
    if not isinstance(items, list) or len(items) != max(record.log_length - record.log_start, 0):
        raise SessionRecordError(
            f"the history of session {record.id!r} is damaged: {record.log_length - record.log_start} "
            "messages expected. It was left as it is; delete the session to start afresh",
            record.id,
        )
    return items
