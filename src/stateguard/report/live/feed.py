"""What the live page shows: the leaks of this process, or of everybody who reports to the same places."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from stateguard.report.destinations import LIBRARIES, is_redis
from stateguard.report.html import row
from stateguard.report.merge import Merged, add_line
from stateguard.report.record import LINE
from stateguard.report.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateguard.leak import Leak
    from stateguard.report.merge import Distinct

DISTINCT = 10_000
"""Distinct leaks that are kept; past that, those that were seen longest ago go."""

REST = 1.0
"""Seconds between two looks at the places, however many people watch."""


class Feed:
    """Merges leaks as they come, and says what is new since a version. Safe to use from several threads.

    It is a :class:`~stateguard.report.sink.Sink`: the guard hands it what this process finds. Files in
    directories and Redis collectors among ``places`` are read on from where they were read to.
    """

    def __init__(self, places: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._merged = Merged()
        self._counts: dict[str, tuple[int, float]] = {}
        self._changed: dict[str, int] = {}
        self._version = 0
        self._looked = 0.0
        self._run = os.urandom(4).hex()
        """Versions of another process mean nothing here: a load balancer may send the next request there."""
        named = [place for place in places if place not in LIBRARIES]
        self._files = _Tails([Path(place) for place in named if not is_redis(place)])
        self._streams = [_Stream(place) for place in named if is_redis(place)]
        self._own = not named

    def leak(self, leak: Leak, seen: int) -> None:
        """A leak of this process. Left to the places where there are any: it comes back from there."""
        if self._own:
            with self._lock:
                self._merged.add(leak, seen, f"process {os.getpid()}")
                self._touch(leak.id)

    def close(self) -> None:
        """What was found stays to be seen."""

    def since(self, version: str) -> dict[str, Any]:
        """The rows that have changed since ``version`` (of an earlier answer), all of them for any other."""
        with self._lock:
            if monotonic() - self._looked >= REST:
                self._read_on()
                self._looked = monotonic()
            run, _, number = version.partition(".")
            mine = f"{self._run}-{os.getpid()}"
            known = run == mine and number.isdecimal() and len(number) < 20
            after = int(number) if known else 0
            leaks = self._merged.leaks
            found = [leaks[key] for key, at in self._changed.items() if at > after and key in leaks]
            processes = {process for one in leaks.values() for process in one.seen}
            count = sum(one.count for one in leaks.values())
            return {
                "version": f"{mine}.{self._version}",
                "whole": not known,
                "subtitle": _subtitle(count, len(processes)),
                "leaks": [row(one) for one in found],
            }

    def _read_on(self) -> None:
        for source, line in self._files.lines():
            self._add(source, line)
        for stream in self._streams:
            for line in stream.lines():
                self._add("redis", line)

    def _add(self, source: str, line: bytes) -> None:
        one = add_line(line, source, self._merged)
        if one is not None:
            self._touch(one.id)

    def _touch(self, key: str) -> None:
        self._version += 1
        self._changed.pop(key, None)
        self._changed[key] = self._version
        if len(self._merged.leaks) > DISTINCT:
            oldest = min(self._merged.leaks.values(), key=_last)
            del self._merged.leaks[oldest.id], self._changed[oldest.id]


def _last(one: Distinct) -> float:
    return one.last


def _subtitle(count: int, processes: int) -> str:
    return f"{counted(count, 'occurrence')} in {counted(processes, 'process', 'processes')}"


class _Tails:
    """The complete lines that files in directories have got since the last look."""

    def __init__(self, places: list[Path]) -> None:
        self._places = places
        self._read: dict[Path, int] = {}

    def lines(self) -> Iterable[tuple[str, bytes]]:
        for place in self._places:
            for file in sorted(place.rglob("*.jsonl")):
                try:
                    yield from self._of(file)
                except OSError:  # rotated away in between
                    self._read.pop(file, None)

    def _of(self, file: Path) -> Iterable[tuple[str, bytes]]:
        start = self._read.get(file, 0)
        if file.stat().st_size <= start:
            return
        with file.open("rb") as stream:
            stream.seek(start)
            while line := stream.readline(LINE):
                if not line.endswith(b"\n") and len(line) < LINE:
                    break  # being written just now
                start += len(line)
                self._read[file] = start
                yield file.name, line


class _Stream:
    """The same of a collector in Redis."""

    def __init__(self, url: str) -> None:
        from stateguard.report.redis_stream import Reader

        self._reader = Reader(url)

    def lines(self) -> Iterable[bytes]:
        return self._reader.more()
