"""Leaks as OpenTelemetry span events and metrics, through the API alone: any SDK, or none, may be behind it.

Needs the extra ``otel``. A leak is an event ``stateguard.leak`` of the span that is current when it is
found, if that is the guilty request's; else it gets a span of its own, so that no request's trace accuses
it of what another did. The counter ``stateguard.leaks`` counts occurrences per distinct leak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from stateguard._version import __version__
from stateguard.attribution.request import current
from stateguard.report.figures import FIGURES
from stateguard.report.growth import Growth, label
from stateguard.report.record import clip
from stateguard.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from stateguard.leak import Leak


class OpenTelemetry:
    """A sink. Providers are the global ones unless given."""

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer("stateguard", __version__, tracer_provider)
        self._leaks = metrics.get_meter("stateguard", __version__, meter_provider).create_counter(
            "stateguard.leaks", unit="{leak}", description="Changes of state that all requests share"
        )
        self._growth = Growth()
        self._meter_provider = meter_provider

    def watch_figures(self, ask: Callable[[], Mapping[str, float]]) -> None:
        """Gauges ``stateguard.guard.share``, ``.seconds``, ``.nodes`` and so on, read when metrics are."""
        meter = metrics.get_meter("stateguard", __version__, self._meter_provider)
        for name in FIGURES:

            def observe(options: object, name: str = name) -> list[metrics.Observation]:
                value = ask().get(name)
                return [] if value is None else [metrics.Observation(value)]

            meter.create_observable_gauge(f"stateguard.guard.{name}", [observe], description=FIGURES[name])

    def leak(self, leak: Leak, seen: int) -> None:
        """One span event, and the counter."""
        grown, labels = self._growth.of(leak, seen)
        if not grown:
            return  # more has become known of an occurrence that has been told
        self._leaks.add(grown, {f"stateguard.leak.{name}": value for name, value in labels.items()})
        attributes = _attributes(leak, seen)
        span = trace.get_current_span()
        if span.is_recording() and _is_about_the_current_request(leak):
            span.add_event("stateguard.leak", attributes)
            return
        with self._tracer.start_as_current_span("stateguard.leak", attributes=attributes) as own:
            own.add_event("stateguard.leak", attributes)

    def close(self) -> None:
        """Providers belong to the application: they are not shut down."""


def _is_about_the_current_request(leak: Leak) -> bool:
    request = current.get()
    return request is not None and leak.request is not None and request.info.id == leak.request.id


def _attributes(leak: Leak, seen: int) -> dict[str, str | int | bool]:
    texts = {
        "id": leak.id,
        "path": leak.path,
        "kind": leak.kind,
        "severity": leak.severity,
        "confidence": leak.confidence,
        "reason": leak.reason,
        "before": leak.before,
        "after": leak.after,
        "fix": leak.fix,
    }
    if leak.request is not None:
        texts["request.id"] = leak.request.id
        texts["request.path"] = leak.request.path
    found: dict[str, str | int | bool] = {
        f"stateguard.leak.{name}": clean(clip(text)) for name, text in texts.items()
    }
    found["stateguard.leak.seen"] = seen
    found["stateguard.leak.suspects"] = leak.suspect_count
    found["stateguard.leak.suspects_exact"] = leak.suspect_count_exact
    found["stateguard.leak.in_flight"] = leak.in_flight_count
    if leak.location is not None:
        found["code.file.path"] = clean(clip(leak.location.file))
        found["code.line.number"] = leak.location.line
        found["code.function.name"] = label(leak.location.function)
    return found
