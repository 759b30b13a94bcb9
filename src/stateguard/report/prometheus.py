"""Leaks as the Prometheus counter ``stateguard_leaks_total``. Needs the extra ``prometheus``.

With ``PROMETHEUS_MULTIPROC_DIR`` set, prometheus_client adds up what all workers count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, Counter

from stateguard.report.growth import Growth

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from stateguard.leak import Leak

LABELS = ("leak", "root", "kind", "severity", "confidence")

_counters: WeakKeyDictionary[CollectorRegistry, Counter] = WeakKeyDictionary()
"""A registry takes a name once, and a process may have several guards."""


class Prometheus:
    """A sink that counts in ``registry``, by default the one that ``prometheus_client`` exposes."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        counter = _counters.get(registry)
        if counter is None:
            counter = _counters[registry] = Counter(
                "stateguard_leaks", "Changes of state that all requests share", LABELS, registry=registry
            )
        self._counter = counter
        self._growth = Growth()

    def leak(self, leak: Leak, seen: int) -> None:
        """Count it."""
        grown, labels = self._growth.of(leak, seen)
        if grown:
            self._counter.labels(**labels).inc(grown)

    def close(self) -> None:
        """Counters stay: a scrape may be on its way."""
