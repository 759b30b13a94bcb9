"""Warm-up: what the first requests of a worker change is how it gets ready, not a leak."""

from __future__ import annotations

from time import monotonic


class WarmUp:
    """Runs from the first request on, until request ``requests`` + 1 begins or ``seconds`` have passed."""

    __slots__ = ("_ends", "_requests", "_seconds", "_seen", "active")

    def __init__(self, requests: int = 0, seconds: float = 0.0) -> None:
        self._requests = requests
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """A new worker process begins cold."""
        self._seen = 0
        self._ends = 0.0
        self.active = self._requests > 0 or self._seconds > 0

    def request_begins(self) -> None:
        """Count a request; to be called while :attr:`active`."""
        now = monotonic()
        self._seen += 1
        if self._seen == 1:
            self._ends = now + self._seconds
        if self._seen > self._requests and now >= self._ends:
            self.active = False


def parse_warm_up(text: object) -> tuple[int, float]:
    """``(requests, seconds)`` of ``20``, ``"20"``, ``"20 requests"`` or ``"30s"``. Raises ``ValueError``."""
    words = str(text).strip().lower()
    if words.endswith("s") and not words.endswith("requests"):
        seconds = float(words.removesuffix("s").strip())
        if not 0 <= seconds < 1e6:
            raise ValueError(words)
        return 0, seconds
    requests = int(words.removesuffix("requests").strip())
    if requests < 0:
        raise ValueError(words)
    return requests, 0.0
