"""What a leak is: the records that travel from the engine to reports.

Everything here is a plain immutable value. Previews and hashes are made when the change is seen, so a
record never keeps application objects alive.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from hashlib import blake2s
from typing import Any, Literal

from stateguard.record import Record

Confidence = Literal["exact", "suspected"]
"""``exact``: no other request can have done it. ``suspected``: it is one of :attr:`Leak.suspects`."""

Severity = Literal["critical", "high", "low", "note"]
"""``critical``: holds the request's own data; ``high``: shared content changed; ``low``: looks like a cache
or a registry; ``note``: a counter, a lazy initialisation, an idempotent write."""

PATH_LENGTH = 500
"""Characters of a request's path that are kept: a client may send any number."""

LISTED = 100
"""Requests that one leak names, as suspects and as in flight."""

SUSPECTS = LISTED + 1
"""Requests that are remembered as suspects: one more, so that a list which is full is known to lack some."""

SEVERITIES: tuple[Severity, ...] = ("note", "low", "high", "critical")
"""All severities, mildest first: compare by position."""


def at_least(severity: Severity, threshold: Severity) -> bool:
    """Whether ``severity`` is as bad as ``threshold`` or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(threshold)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame(Record):
    """One line of code on a call stack."""

    file: str
    line: int
    function: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Location(Record):
    """Where a write happened.

    ``file``, ``line`` and ``function`` name the application's line: when a library or a C function did the
    writing, that is the line that called it, and ``via`` says through what. ``stack`` is the application's
    part of the stack, innermost last.
    """

    file: str
    line: int
    function: str
    source: str = ""
    via: str | None = None
    stack: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RequestInfo(Record):
    """Which request: enough to find it in an access log, nothing of its content.

    ``id`` is the incoming ``X-Request-ID`` when there is a sane one, else generated. ``protocol`` is
    ``"http"``, ``"websocket"``, ``"wsgi"`` or ``"call"`` (``guard.request``). ``path`` has no query string.
    """

    id: str
    protocol: str
    method: str
    path: str
    started: float = field(default_factory=time.time)
    ended: float | None = None
    """Known only of requests that were in flight when something leaked, and once they have ended."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} (request {self.id})".strip()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Leak(Record):
    """A change that a request made to shared state and that no exemption allows.

    ``request`` is ``None`` when code outside any request did it (a timer, a thread, a start-up task).
    ``suspects`` lists the requests that may have done it when ``confidence`` is ``"suspected"``, at most
    :data:`LISTED`, with one of each method and path first if there are more. Then the guilty one may be
    another: see ``suspects_cut`` and ``suspect_count``.
    ``in_flight`` lists the other requests being served at that moment, at most :data:`LISTED`: they could
    read what was written. With ``restored``, also those being served when it was put back.
    ``in_flight_count`` says how many they were.
    ``before_hash`` and ``after_hash`` are of the content: 12 hexadecimal digits, the same in every process.
    With ``~`` behind them, there is more than what has gone in: equal ones do not say that it is equal.
    """

    path: str
    kind: str
    severity: Severity
    reason: str
    request: RequestInfo | None
    confidence: Confidence
    suspects: tuple[RequestInfo, ...]
    location: Location | None
    before: str
    after: str
    before_hash: str
    after_hash: str
    root: str = ""
    in_flight: tuple[RequestInfo, ...] = ()
    after_response: bool = False
    restored: bool = False
    restored_at: float | None = None
    """With ``restored``: when (``time.time()``). Who was in flight until then could read what was written."""
    unlocated: str = ""
    """Why there is no ``location``, in words."""
    contained: str = ""
    """With ``on_leak="restore"``: ``"put back ..."``, or why it could not be."""
    fix: str = ""
    time: float = field(default_factory=time.time)
    suspect_count: int = 0
    """How many requests may have done it, those included that ``suspects`` does not list."""
    suspect_count_exact: bool = True
    """Whether ``suspect_count`` is exact. If not, more were served than are remembered: it is about how many
    have been since what changed was last seen as it was before, known from how many requests began."""

    in_flight_count: int = 0
    """How many other requests were in flight, those included that ``in_flight`` does not list."""

    def __post_init__(self) -> None:
        if self.in_flight_count < len(self.in_flight):
            object.__setattr__(self, "in_flight_count", len(self.in_flight))
        if self.suspect_count < len(self.suspects):
            object.__setattr__(self, "suspect_count", len(self.suspects))

    @property
    def suspects_cut(self) -> bool:
        """Whether requests may have done it that ``suspects`` does not list."""
        return self.suspect_count > len(self.suspects) or not self.suspect_count_exact

    @property
    def in_flight_cut(self) -> bool:
        """Whether requests were in flight that ``in_flight`` does not list."""
        return self.in_flight_count > len(self.in_flight)

    @property
    def id(self) -> str:
        """A stable name for leaks that are the same leak: equal across requests, processes and hosts."""
        text = "\0".join((self.root or self.path, self.kind))
        return blake2s(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The leak as JSON-ready values: for log lines, files and other programs."""
        return {"id": self.id, **asdict(self)}
