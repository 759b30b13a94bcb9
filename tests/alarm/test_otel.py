"""OpenTelemetry through its API alone, seen from a real SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stateguard import Guard
from stateguard.report.otel import OpenTelemetry
from tests.alarm import state
from tests.alarm.leaks import hostile, leak


class Seen:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.metrics = MeterProvider([self.reader])
        self.sink = OpenTelemetry(self.traces, self.metrics)

    def counts(self) -> dict[str, int]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        (leaks,) = (
            one for one in data.resource_metrics[0].scope_metrics[0].metrics if one.name == "stateguard.leaks"
        )
        points = leaks.data.data_points
        return {str(point.attributes["stateguard.leak.root"]): point.value for point in points}

    def spans(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]


@pytest.fixture
def seen() -> Iterator[Seen]:
    one = Seen()
    yield one
    one.traces.shutdown()
    one.metrics.shutdown()


def test_a_leak_is_an_event_of_the_guilty_requests_span(seen: Seen) -> None:
    guard = Guard(watch=["tests.alarm.state"], process=False, sinks=[seen.sink])
    with guard.request("warm"):
        pass
    with seen.traces.get_tracer("app").start_as_current_span("GET /chat"), guard.request("/chat"):
        state.HISTORY.append("word")
    guard.close()
    state.HISTORY.clear()
    (span,) = seen.exporter.get_finished_spans()
    (event,) = span.events
    assert (span.name, event.name) == ("GET /chat", "stateguard.leak")
    assert event.attributes is not None
    assert event.attributes["stateguard.leak.path"] == "tests.alarm.state.HISTORY"
    assert event.attributes["stateguard.leak.confidence"] == "exact"
    assert event.attributes["stateguard.leak.request.path"] == "/chat"
    assert seen.counts() == {"tests.alarm.state.HISTORY": 1}


def test_nobody_elses_span_is_accused(seen: Seen) -> None:
    with seen.traces.get_tracer("app").start_as_current_span("GET /innocent"):
        seen.sink.leak(leak(), 1)
    own, innocent = seen.exporter.get_finished_spans()
    assert (own.name, innocent.name) == ("stateguard.leak", "GET /innocent")
    assert not innocent.events
    assert own.events[0].attributes is not None
    assert own.events[0].attributes["code.line.number"] == 8


def test_counts_are_whole_although_calls_are_thinned_out(seen: Seen) -> None:
    for n in (1, 2, 20, 500):
        seen.sink.leak(leak(), n)
    seen.sink.leak(leak(), 3)  # forgotten by the guard in between, and counted anew
    assert seen.counts() == {"app.HISTORY": 503}


def test_names_made_up_per_request_do_not_make_up_series(seen: Seen) -> None:
    for n in range(1000):
        seen.sink.leak(leak(f"app.N{n}"), 1)
    counts = seen.counts()
    assert len(counts) == 201
    assert counts["other"] == 800


def test_hostile_texts_are_printable_and_bounded(seen: Seen) -> None:
    seen.sink.leak(hostile(), 1)
    (span,) = seen.exporter.get_finished_spans()
    for value in (span.events[0].attributes or {}).values():
        text = str(value)
        assert text.isprintable()
        assert len(text.encode()) < 20_000
    span.to_json()


def test_how_many_requests_it_may_have_been(seen: Seen) -> None:
    seen.sink.leak(
        leak(request=None, confidence="suspected", suspect_count=743, suspect_count_exact=False), 1
    )
    (span,) = seen.exporter.get_finished_spans()
    assert span.attributes["stateguard.leak.suspects"] == 743
    assert span.attributes["stateguard.leak.suspects_exact"] is False


def test_how_many_requests_were_in_flight(seen: Seen) -> None:
    seen.sink.leak(leak(in_flight_count=250), 1)
    (span,) = seen.exporter.get_finished_spans()
    assert span.events[0].attributes["stateguard.leak.in_flight"] == 250


def test_without_an_sdk_nothing_happens() -> None:
    OpenTelemetry().leak(leak(), 1)


def test_what_the_guard_costs_is_a_metric(seen: Seen) -> None:
    guard = Guard(watch=["tests.alarm.state"], process=False, sinks=[seen.sink])
    with guard.request("job"):
        pass
    data = seen.reader.get_metrics_data()
    assert data is not None
    found = {
        one.name: one.data.data_points[0].value for one in data.resource_metrics[0].scope_metrics[0].metrics
    }
    guard.close()
    assert found["stateguard.guard.requests"] == 1
    assert found["stateguard.guard.seconds"] > 0
    assert 0 < found["stateguard.guard.share"]
