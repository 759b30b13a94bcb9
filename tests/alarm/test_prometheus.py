"""Prometheus: one counter per distinct leak, and one sum over several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from stateguard import Guard
from stateguard.report.prometheus import Prometheus
from tests.alarm.leaks import hostile, leak
from tests.run.command import ROOT


def _samples(registry: CollectorRegistry) -> dict[str, float]:
    text = generate_latest(registry).decode()
    return {
        sample.labels["root"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "stateguard_leaks_total"
    }


def test_leaks_are_counted_and_several_guards_share_the_counter() -> None:
    registry = CollectorRegistry()
    first, second = Prometheus(registry), Prometheus(registry)
    first.leak(leak(), 1)
    first.leak(leak(), 7)
    second.leak(leak(), 1)
    second.leak(leak("app.OTHER"), 2)
    first.close()
    assert _samples(registry) == {"app.HISTORY": 8, "app.OTHER": 2}


def test_names_made_up_per_request_do_not_make_up_series() -> None:
    registry = CollectorRegistry()
    sink = Prometheus(registry)
    for n in range(1000):
        sink.leak(leak(f"app.N{n}"), 1)
    samples = _samples(registry)
    assert len(samples) == 201
    assert samples["other"] == 800


def test_hostile_labels_stay_in_their_line() -> None:
    registry = CollectorRegistry()
    Prometheus(registry).leak(hostile(), 1)
    text = generate_latest(registry).decode()
    assert len([line for line in text.splitlines() if line.startswith("stateguard_leaks_total{")]) == 1
    assert all(line.isprintable() for line in text.split("\n"))
    assert list(_samples(registry).values()) == [1]


def test_several_processes_add_up(tmp_path: Path) -> None:
    program = (
        "from stateguard.report.prometheus import Prometheus\n"
        "from tests.alarm.leaks import leak, hostile\n"
        "sink = Prometheus()\n"
        "sink.leak(leak(), 3)\n"
        "sink.leak(hostile(), 1)\n"
    )
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=True,
        )
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))
    samples = _samples(registry)
    assert samples["app.HISTORY"] == 9
    assert sorted(samples.values()) == [3, 9]


def test_what_guards_cost_is_a_metric() -> None:
    registry = CollectorRegistry()
    guards = [
        Guard(watch=["tests.alarm.state"], process=False, sinks=[Prometheus(registry)]) for _ in range(2)
    ]
    with guards[0].request("job"):
        pass
    text = generate_latest(registry).decode()
    for guard in guards:
        guard.close()
    assert 'stateguard_guard_requests{guard="1"} 1.0' in text
    assert 'stateguard_guard_requests{guard="2"} 0.0' in text
    assert "# HELP stateguard_guard_share Time spent looking as a share of request time" in text
