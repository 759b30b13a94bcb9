"""A leak as one bounded JSON object, and back.

A record is ``Leak.to_dict()`` with two more fields: ``seen`` (how often its process had seen the leak) and
``process``. Everything is bounded: a path may hold a name of any length, and thousands of requests may have
been in flight.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast, get_args

from stateguard.leak import LISTED, SEVERITIES, Confidence, Frame, Leak, Location, RequestInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = 2000
"""Characters of any text in a record."""

LINE = 4_000_000
"""Bytes of a line; a longer one was not written by stateguard."""

ALLOWANCES = 1000
"""Exemptions in a record."""

REQUESTS = 50
"""Requests listed as suspects or as in flight."""


def clip(text: str, limit: int = TEXT) -> str:
    """``text``, or its beginning and how long it was."""
    return text if len(text) <= limit else f"{text[: limit - 40]}... ({len(text)} characters)"


def encode(leak: Leak, seen: int, process: str) -> bytes:
    """One line, ASCII only: nothing in it can end the line, move a cursor or close an element of a page."""
    fields = leak.to_dict()
    record = {
        **bounded(fields),
        "seen": seen,
        "process": process,
    }
    return json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def encode_allowances(hits: Mapping[str, int], process: str) -> bytes:
    """One line that says how often each exemption has matched in a process."""
    record = {"allowances": {clip(entry, 500): n for entry, n in list(hits.items())[:ALLOWANCES]}}
    return json.dumps({**record, "process": process}, ensure_ascii=True).encode() + b"\n"


def decode_allowances(record: Mapping[str, Any]) -> dict[str, int] | None:
    """What :func:`encode_allowances` has written; ``None`` for any other record."""
    hits = record.get("allowances")
    if not isinstance(hits, dict) or "path" in record:
        return None
    return {
        clip(entry, 500).encode("utf-8", "backslashreplace").decode(): n
        for entry, n in list(hits.items())[:ALLOWANCES]
        if type(n) is int and 0 <= n < 2**53
    }


def bounded(value: Any) -> Any:
    """A JSON-ready value with every text and list in it cut to what a record may hold."""
    if isinstance(value, str):
        return clip(value)
    if isinstance(value, dict):
        return {key: bounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [bounded(one) for one in value[:REQUESTS]]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def decode(record: Mapping[str, Any]) -> Leak:
    """The leak that a record describes. Raises ``ValueError`` for anything else."""
    try:
        severity, confidence = record["severity"], record["confidence"]
        if severity not in SEVERITIES or confidence not in get_args(Confidence):
            raise ValueError(f"no such severity or confidence: {severity!r}, {confidence!r}"[:200])
        request = record.get("request")
        location = record.get("location")
        suspects = tuple(map(_request, record.get("suspects") or ()))
        count, exact = _suspect_count(record, len(suspects))
        in_flight = tuple(map(_request, record.get("in_flight") or ()))
        return Leak(
            **{name: _text(record, name) for name in ("path", "kind", "reason", "before", "after")},
            before_hash=_text(record, "before_hash"),
            after_hash=_text(record, "after_hash"),
            severity=severity,
            confidence=cast("Confidence", confidence),
            request=None if request is None else _request(request),
            suspects=suspects,
            suspect_count=count,
            suspect_count_exact=exact,
            in_flight=in_flight,
            in_flight_count=_count(record, "in_flight_count", len(in_flight)),
            location=None if location is None else _location(location),
            root=_text(record, "root"),
            after_response=record.get("after_response") is True,
            restored=record.get("restored") is True,
            restored_at=None if record.get("restored_at") is None else _number(record, "restored_at"),
            unlocated=_text(record, "unlocated") if "unlocated" in record else "",
            contained=_text(record, "contained") if "contained" in record else "",
            fix=_text(record, "fix"),
            time=_number(record, "time"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a recorded leak: {type(error).__name__}: {error}"[:200]) from error


def _suspect_count(record: Mapping[str, Any], listed: int) -> tuple[int, bool]:
    """How many requests may have done it, and whether that is exact.

    Records of versions that do not say have counted no further than :data:`~stateguard.leak.LISTED`.
    """
    count = _count(record, "suspect_count", listed)
    exact = record.get("suspect_count_exact", max(count, listed) < LISTED)
    return count, exact is True


def _count(record: Mapping[str, Any], name: str, unless_told: int) -> int:
    count = record.get(name, unless_told)
    if type(count) is not int or not 0 <= count < 2**53:
        raise ValueError(f"{name} is no count")
    return count


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    # A lone surrogate would make every later write of this text fail.
    return clip(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _number(record: Mapping[str, Any], name: str) -> float:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11:
        raise ValueError(f"{name} is not a time")
    return float(value)


def _request(record: Mapping[str, Any]) -> RequestInfo:
    return RequestInfo(
        **{name: _text(record, name) for name in ("id", "protocol", "method", "path")},
        started=_number(record, "started"),
        ended=None if record.get("ended") is None else _number(record, "ended"),
    )


def _location(record: Mapping[str, Any]) -> Location:
    via = record.get("via")
    frames = tuple(_frame(one) for one in record.get("stack") or ())
    frame = _frame(record)
    via = None if via is None else _text(record, "via")
    return Location(frame.file, frame.line, frame.function, frame.source, via, frames)


def _frame(record: Mapping[str, Any]) -> Frame:
    line = record["line"]
    if isinstance(line, bool) or not isinstance(line, int):
        raise TypeError("line is no number")
    return Frame(_text(record, "file"), line, _text(record, "function"), _text(record, "source"))
