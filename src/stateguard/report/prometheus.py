"""Leaks as the Prometheus counter ``stateguard_leaks_total``. Needs the extra ``prometheus``.

With ``PROMETHEUS_MULTIPROC_DIR`` set, prometheus_client adds up what all workers count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stateguard.report.figures import FIGURES
from stateguard.report.growth import Growth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
        self._registry = registry
        self._growth = Growth()

    def leak(self, leak: Leak, seen: int) -> None:
        """Count it."""
        grown, labels = self._growth.of(leak, seen)
        if grown:
            self._counter.labels(**labels).inc(grown)

    def watch_figures(self, ask: Callable[[], Mapping[str, float]]) -> None:
        """Gauges ``stateguard_guard_share`` and so on, one series per guard; not over several processes."""
        figures = _figures.get(self._registry)
        if figures is None:
            figures = _figures[self._registry] = _Figures()
            self._registry.register(figures)
        figures.asks.append(ask)

    def close(self) -> None:
        """Counters stay: a scrape may be on its way."""


class _Figures(Collector):
    def __init__(self) -> None:
        self.asks: list[Callable[[], Mapping[str, float]]] = []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = [ask() for ask in self.asks]
        for name, meaning in FIGURES.items():
            family = GaugeMetricFamily(f"stateguard_guard_{name}", meaning, labels=["guard"])
            for number, figures in enumerate(now, 1):
                if name in figures:
                    family.add_metric([str(number)], figures[name])
            yield family


_figures: WeakKeyDictionary[CollectorRegistry, _Figures] = WeakKeyDictionary()
