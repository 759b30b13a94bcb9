"""A leak as a person reads it in a log: everything needed to act, in one message."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stateguard.aside import allowed_to_block
from stateguard.messages import see
from stateguard.report.record import bounded, clip
from stateguard.report.wording import suspects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stateguard.leak import Leak, RequestInfo

SHOWN = 4
"""Requests listed by name before the rest is only counted."""


def clean(text: str) -> str:
    """Text that cannot break a log line or a terminal: control characters are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short_file(file: str) -> str:
    """A path relative to the working directory where it lies below it."""
    try:
        with allowed_to_block():
            relative = os.path.relpath(file)
    except (ValueError, OSError):
        return file
    return file if relative.startswith("..") else relative


def render_leak(leak: Leak) -> str:
    """Several lines, no trailing newline."""
    rows = [("what", _what(leak)), ("where", _where(leak)), ("who", _who(leak))]
    if leak.location is not None and len(leak.location.stack) > 1:
        calls = " > ".join(f"{frame.function}:{frame.line}" for frame in leak.location.stack)
        rows.append(("called", calls))
    rows.append(("beside", _beside(leak)))
    rows.append(("why", leak.reason + (f"; rated {leak.severity}" if leak.severity else "")))
    if leak.contained:
        rows.append(("restore", leak.contained))
    if leak.fix:
        rows.append(("fix", leak.fix))
    rows.append(("allow", f'Guard(allow=["{leak.root or leak.path}  # why it is meant"])'))
    rows.append(("see", see(leak.kind)))
    title = (
        f"shared state {_verb(leak.kind)}: {leak.path} [{leak.severity}, {leak.confidence}, leak {leak.id}]"
    )
    return "\n".join([_line(title), *(f"  {name:<7} {_line(text)}" for name, text in rows if text)])


def _line(text: str) -> str:
    return clean(clip(text))


def _verb(kind: str) -> str:
    return kind if kind != "left behind" else "left behind on the thread"


def _what(leak: Leak) -> str:
    hashes = ""
    if leak.before_hash != leak.after_hash:
        hashes = f"   #{leak.before_hash[:6] or '-'} -> #{leak.after_hash[:6] or '-'}"
    return f"{leak.before} -> {leak.after}{hashes}"


def _where(leak: Leak) -> str:
    location = leak.location
    if location is None:
        return f"line not known: {leak.unlocated}" if leak.unlocated else "line not known"
    source = location.source.strip()
    obvious = not location.via or source.startswith(f"{location.via}(")  # the line says it by itself
    via = "" if obvious else f"  (written by {location.via})"
    source = f"   {source}" if source else ""
    return f"{short_file(location.file)}:{location.line} in {location.function}{via}{source}"


def _who(leak: Leak) -> str:
    if leak.request is not None:
        when = ", after the response" if leak.after_response else ""
        restored = f", and put back {_later(leak)}in the same request" if leak.restored else ""
        return f"{leak.request}{when}{restored}; exact: only its code was running then"
    if leak.suspects_cut:
        return (
            f"one of {suspects(leak)} whose code was running then; {len(leak.suspects)} of them are listed, "
            f"the guilty one may be another: {_names(leak.suspects)}"
        )
    if not leak.suspects:
        return "code outside any request"
    if len(leak.suspects) == 1:
        return f"{leak.suspects[0]}, but not proven: code outside any request may have done it"
    return f"one of {len(leak.suspects)} requests whose code was running then: {_names(leak.suspects)}"


def _beside(leak: Leak) -> str:
    n = leak.in_flight_count
    if not n:
        return "no other request was in flight" + ("" if leak.restored else "; every later one can read it")
    noun = "request was" if n == 1 else "requests were"
    until = "in flight and could read it"
    if leak.restored:
        until = "in flight before it was put back and could read it until then"
    names = f": {_names(leak.in_flight, leak)}" if leak.in_flight else ""
    return f"{n:,} other {noun} {until}{names}"


def _later(leak: Leak) -> str:
    return "later " if leak.restored_at is None else f"{_seconds(leak.restored_at - leak.time)} later "


def _seconds(seconds: float) -> str:
    return f"{max(seconds, 0.0):.3g} s" if seconds >= 1 else f"{max(seconds, 0.0) * 1000:.3g} ms"


def _names(requests: Iterable[RequestInfo], beside: Leak | None = None) -> str:
    """Their names; of those ``beside`` a leak also for how long they went on, where it is known."""
    every = []
    for request in requests:
        ended = (
            ""
            if beside is None or request.ended is None or beside.restored
            else (f", which ended {_seconds(request.ended - beside.time)} later")
        )
        every.append(f"{request}{ended}")
    shown = every[:SHOWN]
    rest = (len(every) if beside is None else beside.in_flight_count) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def render_summary(leaks: Iterable[tuple[Leak, int]]) -> str:
    """A table of distinct leaks with how often each was seen, worst first."""
    order = {"critical": 0, "high": 1, "low": 2, "note": 3}
    rows = [("severity", "times", "confidence", "what", "where")]
    for leak, count in sorted(leaks, key=lambda pair: (order[pair[0].severity], -pair[1])):
        where = f"{short_file(leak.location.file)}:{leak.location.line}" if leak.location else "-"
        what = f"{clip(leak.path, 200)} {leak.kind}"
        rows.append((leak.severity, str(count), leak.confidence, clean(what), clean(clip(where, 200))))
    if len(rows) == 1:
        return "no shared state was changed"
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def counted(leak: Leak, count: int) -> str:
    """One line: a known leak has been seen ``count`` times."""
    return _line(f"shared state {_verb(leak.kind)}: {leak.path} [leak {leak.id}]: seen {count} times now")


def aftermath(leak: Leak) -> str:
    """One line: whether the guard has put it back at the end of the request, or the request has done so."""
    what = f"shared state {_verb(leak.kind)}: {leak.path} [leak {leak.id}]"
    if leak.contained or not leak.restored:
        who = f" ({leak.request})" if leak.request is not None else ""
        return _line(f"{what}: {leak.contained}{who}")
    return _line(f"{what}: put back {_later(leak)}by {leak.request}; {_beside(leak)}")


def fields(leak: Leak) -> Mapping[str, object]:
    """The fields that a log record carries beside the message."""
    return {
        "leak": bounded(leak.to_dict()),
        "leak_id": leak.id,
        "leak_path": clip(leak.path),
        "leak_kind": leak.kind,
        "leak_severity": leak.severity,
        "leak_confidence": leak.confidence,
        "leak_suspect_count": leak.suspect_count,
        "leak_in_flight_count": leak.in_flight_count,
        "leak_contained": leak.contained,
        "request_id": clip(leak.request.id) if leak.request else None,
    }
