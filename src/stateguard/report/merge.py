"""What workers and hosts have recorded, in files or in Redis, as one list of distinct leaks.

Leaks are the same when their :attr:`Leak.id <stateguard.leak.Leak.id>` is. A process writes down how often it
has seen each, so counts add up although frequent leaks are thinned out.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stateguard.errors import ConfigError
from stateguard.leak import SEVERITIES, Leak
from stateguard.report.destinations import is_redis
from stateguard.report.record import LINE, decode, decode_allowances

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OCCURRENCES = 5
"""Latest occurrences of each leak that are kept."""


@dataclass(slots=True)
class Distinct:
    """One leak, wherever it was seen."""

    id: str
    leak: Leak
    """Its most telling occurrence: worst severity, then one whose line is known, then one that is proven or
    lists all who may have done it, then the most company."""
    first: float
    last: float
    seen: dict[str, int] = field(default_factory=dict)
    """How often, per process."""
    occurrences: deque[Leak] = field(default_factory=lambda: deque(maxlen=OCCURRENCES))

    @property
    def count(self) -> int:
        """How often, in all processes."""
        return sum(self.seen.values())


@dataclass(slots=True)
class Merged:
    """What a number of files say."""

    leaks: dict[str, Distinct] = field(default_factory=dict)
    lines: int = 0
    unreadable: int = 0
    """Lines that are no leaks, such as one that a full disk has cut."""
    allowances: dict[str, int] = field(default_factory=dict)
    """How often each exemption has matched, in all processes that have ended properly."""

    def unused_allowances(self) -> list[str]:
        """The exemptions that have matched nothing anywhere: candidates for removal."""
        return sorted(entry for entry, hits in self.allowances.items() if not hits)

    def worst_first(self) -> list[Distinct]:
        """The distinct leaks, worst severity first, then most frequent."""
        return sorted(
            self.leaks.values(), key=lambda one: (-SEVERITIES.index(one.leak.severity), -one.count, one.id)
        )

    def add(self, leak: Leak, seen: int, process: str) -> Distinct:
        """One more occurrence, of the leak that is returned."""
        key = leak.id
        known = self.leaks.get(key)
        if known is None:
            known = self.leaks[key] = Distinct(key, leak, leak.time, leak.time)
        elif _telling(leak) >= _telling(known.leak):
            known.leak = leak
        known.first = min(known.first, leak.time)
        known.last = max(known.last, leak.time)
        known.seen[process] = max(known.seen.get(process, 0), seen)
        if known.occurrences and known.occurrences[-1].time == leak.time:
            known.occurrences.pop()  # the same one, of which more has become known
        known.occurrences.append(leak)
        return known


def _telling(leak: Leak) -> tuple[int, bool, bool, bool, int, bool, int, float]:
    return (
        SEVERITIES.index(leak.severity),
        leak.location is not None,
        leak.confidence == "exact",
        leak.suspect_count_exact,
        min(leak.in_flight_count, 8),
        any(request.ended is not None for request in (leak.request, *leak.in_flight) if request),
        leak.in_flight_count,
        leak.time,
    )


def read_leaks(places: Iterable[str | Path]) -> Merged:
    """Merge files, the ``*.jsonl`` files in directories, and Redis collectors (``redis://...``).

    Raises :class:`~stateguard.errors.ConfigError` for a place that is not there or cannot be read. Lines
    that are no leaks are counted, not fatal: the last line of a crashed machine may be cut.
    """
    merged = Merged()
    for place in places:
        if isinstance(place, str) and is_redis(place):
            _read_redis(place, merged)
            continue
        for file in _files(Path(place)):
            try:
                _read(file, merged)
            except OSError as error:
                raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
    return merged


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(place.rglob("*.jsonl"))
    elif place.exists():
        yield place
    else:
        raise ConfigError(f"there is no file or directory {str(place)!r}")


def _read_redis(url: str, merged: Merged) -> None:
    try:
        from stateguard.report.redis_stream import Reader
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigError(
            "reading leaks from Redis needs redis-py: pip install 'stateguard-middleware[redis]'"
        ) from None
    for line in Reader(url).more():
        add_line(line, "redis", merged)


def _read(file: Path, merged: Merged) -> None:
    with file.open("rb") as stream:
        while line := stream.readline(LINE):
            add_line(line, file.name, merged)


def add_line(line: bytes, source: str, merged: Merged) -> Distinct | None:
    """Merge one line of JSON; the leak that it is about, or ``None`` if it is about none."""
    if not line.strip():
        return None
    merged.lines += 1
    try:
        record = json.loads(line)
        hits = decode_allowances(record)
        if hits is not None:
            merged.lines -= 1
            for entry, n in hits.items():
                merged.allowances[entry] = merged.allowances.get(entry, 0) + n
            return None
        leak, seen = decode(record), record.get("seen")
        process = str(record.get("process", source))[:200]
        if seen is None:  # a plain ``Leak.to_dict()``: one occurrence per line
            known = merged.leaks.get(leak.id)
            seen = (known.seen.get(process, 0) if known is not None else 0) + 1
        if type(seen) is not int or not 0 < seen < 2**53:
            raise ValueError("seen is no count")
        return merged.add(leak, seen, process)
    except (ValueError, AttributeError, RecursionError):
        merged.unreadable += 1
        return None
