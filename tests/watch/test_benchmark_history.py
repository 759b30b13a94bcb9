"""The history of the benchmarks: a regression shows, noise and improvements do not."""

from __future__ import annotations

from benchmarks import history


def test_a_regression_shows_and_an_improvement_does_not(tmp_path):
    file = tmp_path / "deep" / "history.jsonl"
    assert history.earlier(file, "3.13") == []
    for value in (1.0, 1.1, 0.9):
        history.add(file, "3.13", {"check / bare pass": value, "flask: throughput": 0.95})
    history.add(file, "3.11", {"check / bare pass": 9.0})
    runs = history.earlier(file, "3.13")
    assert len(runs) == 3
    assert history.regressions({"check / bare pass": 1.05, "flask: throughput": 0.99}, runs) == []
    [worse] = history.regressions({"check / bare pass": 0.5, "flask: throughput": 0.8, "new": 3.0}, runs)
    assert worse.startswith("flask: throughput: 0.8, was 0.95")
    [worse] = history.regressions({"check / bare pass": 1.2}, runs)
    assert worse.startswith("check / bare pass: 1.2, was 1 ")
