"""What becomes of the requests that a leak was found beside: when each ended, until when it could read.

Followed are the occurrences that a report shows, a bounded number of them at a time.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.leak import Leak, RequestInfo

OPEN = 100
"""Occurrences that are followed at the same time."""

COMPANY = 32
"""Requests that are waited for, per occurrence."""

PATIENCE = 10.0
"""Seconds after which those that have not ended, streams and websockets say, are not waited for any more."""


class Aftermath:
    """Waits until the requests around a leak have ended. The guard's lock is held around every call."""

    def __init__(self) -> None:
        self.following: dict[str, Leak] = {}
        """The occurrences whose company has not ended yet, by the identity of the leak."""
        self._waiting: dict[str, set[str]] = {}
        self._ended: dict[str, dict[str, float]] = {}
        self._until: dict[str, float] = {}

    def follow(self, leak: Leak) -> None:
        """Wait for the requests of this occurrence; an earlier one of the same leak is given up."""
        if len(self.following) >= OPEN and leak.id not in self.following:
            return
        ids = {request.id for request in (*leak.in_flight[:COMPANY], *leak.suspects[:COMPANY])}
        if leak.request is not None:
            ids.add(leak.request.id)
        if not ids:
            return
        self.following[leak.id], self._waiting[leak.id], self._ended[leak.id] = leak, ids, {}
        self._until[leak.id] = time.monotonic() + PATIENCE

    def amend(self, leak: Leak) -> None:
        """More is known of an occurrence that may be one of those followed."""
        known = self.following.get(leak.id)
        if known is not None and known.time == leak.time:
            self.following[leak.id] = leak

    def over(self, request: str) -> list[Leak]:
        """A request has ended: the leaks whose company is complete now, with the times at which it ended."""
        now = time.monotonic()
        done = [
            key
            for key, waiting in self._waiting.items()
            if self._note(key, waiting, request) or now > self._until[key]
        ]
        found = []
        for key in done:
            ended = self._ended.pop(key)
            del self._waiting[key], self._until[key]
            found.append(_completed(self.following.pop(key), ended))
        return found

    def _note(self, key: str, waiting: set[str], request: str) -> bool:
        if request not in waiting:
            return False
        waiting.discard(request)
        self._ended[key][request] = time.time()
        return not waiting


def _completed(leak: Leak, ended: dict[str, float]) -> Leak:
    def told(request: RequestInfo) -> RequestInfo:
        return replace(request, ended=ended.get(request.id))

    return replace(
        leak,
        request=None if leak.request is None else told(leak.request),
        suspects=tuple(map(told, leak.suspects)),
        in_flight=tuple(map(told, leak.in_flight)),
    )
