"""Draw what the benchmarks have measured, with matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def cost_by_size(check: dict[str, dict[str, float]], file: Path) -> None:
    """One check and its rivals against the number of containers, both axes logarithmic."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    sizes = sorted(check, key=int)
    for name in dict.fromkeys(name for size in sizes for name in check[size]):
        points = [(int(size), check[size][name] * 1e3) for size in sizes if name in check[size]]
        axes.plot(*zip(*points, strict=True), marker="o", label=name, linewidth=2.5 if name == "check" else 1)
    axes.set(xscale="log", yscale="log", xlabel="containers watched", ylabel="milliseconds")
    axes.set_title("Noticing that nothing has changed")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, file)


def throughput(results: list[dict[str, Any]], file: Path) -> None:
    """Requests per second of each variant as a share of the bare server's, and how sure that is."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for variant, places, mine, width in _groups(results, axes):
        heights = [result["throughput"] for result in mine]
        unsure = [
            [result["throughput"] - result["throughput_low"] for result in mine],
            [result["throughput_high"] - result["throughput"] for result in mine],
        ]
        axes.bar(places, heights, width, yerr=unsure, error_kw={"linewidth": 0.8}, label=variant)
    axes.set(ylabel="throughput, bare server = 1", title="What the guard costs a request")
    axes.axhline(0.93, color="grey", linewidth=0.8, linestyle="--")
    axes.legend(fontsize="small")
    _save(figure, file)


def pauses(results: list[dict[str, float]], file: Path) -> None:
    """The longest pause by the number of objects."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    objects = [result["objects"] for result in results]
    axes.plot(objects, [result["longest ms"] for result in results], marker="o", label="longest")
    axes.plot(objects, [result["p99 ms"] for result in results], marker="o", label="99th percentile")
    axes.set(xscale="log", xlabel="objects watched", ylabel="ms of processor time in one request")
    axes.set_ylim(bottom=0)
    axes.set_title("What the guard adds to one request")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, file)


def growing(results: list[dict[str, Any]], file: Path) -> None:
    """What the guard adds to a request that adds one item, by the number of items that are there."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for kind in dict.fromkeys(result["kind"] for result in results):
        points = [(r["items"], r["mean us"]) for r in results if r["kind"] == kind]
        axes.plot(*zip(*points, strict=True), marker="o", label=kind)
    axes.set(xscale="log", xlabel="items in the container", ylabel="µs of processor time per request, mean")
    axes.set_ylim(bottom=0)
    axes.set_title("A leak that grows with each request")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    _save(figure, file)


def latency(results: list[dict[str, Any]], file: Path) -> None:
    """The median and the 99th percentile of each variant's latency, without and with a guard."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for variant, places, mine, width in _groups(results, axes):
        medians = [result["median_ms"] for result in mine]
        tails = [result["p99_ms"] - result["median_ms"] for result in mine]
        bars = axes.bar(places, medians, width, label=variant)
        axes.bar(places, tails, width, bottom=medians, color=bars.patches[0].get_facecolor(), alpha=0.4)
    axes.set(yscale="log", ylabel="ms: median, and pale up to the 99th percentile", title="Latency")
    axes.legend(fontsize="small")
    _save(figure, file)


def scaling(results: list[dict[str, float]], file: Path) -> None:
    """Throughput by concurrency, and by worker processes."""
    figure, both = pyplot.subplots(1, 2, figsize=(9, 4.5))
    for axes, by in zip(both, ("connections", "workers"), strict=True):
        other = "workers" if by == "connections" else "connections"
        fixed = 1 if by == "connections" else 32
        points = sorted((r for r in results if r[other] == fixed), key=lambda r: r[by])
        for variant in ("bare", "guarded"):
            axes.plot([r[by] for r in points], [r[variant] for r in points], marker="o", label=variant)
        axes.set(xscale="log", xlabel=by, ylabel="requests per second")
        axes.set_xticks([r[by] for r in points], [f"{r[by]:g}" for r in points])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_title(f"by {by}, {fixed} {other if fixed > 1 else other[:-1]}")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    _save(figure, file)


def _groups(
    results: list[dict[str, Any]], axes: Any
) -> Iterator[tuple[str, list[float], list[dict[str, Any]], float]]:
    """Label a group of bars per case; per variant where its bars stand, what they show, and their width."""
    cases = list(dict.fromkeys(result["case"] for result in results))
    variants = list(dict.fromkeys(result["variant"] for result in results))
    width = 0.8 / len(variants)
    axes.set_xticks([i + 0.4 - width / 2 for i in range(len(cases))], cases, fontsize="x-small", rotation=15)
    for n, variant in enumerate(variants):
        mine = [result for result in results if result["variant"] == variant]
        yield variant, [cases.index(result["case"]) + n * width for result in mine], mine, width


def _save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file)
    pyplot.close(figure)
