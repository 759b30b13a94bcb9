"""What ``report_to`` may name, and the sink for each: a directory, a Redis, or a telemetry library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stateguard.errors import ConfigError
from stateguard.report.jsonl import JsonLines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateguard.report.sink import Sink

LIBRARIES = {
    "otel": ("stateguard.report.otel", "OpenTelemetry", "opentelemetry"),
    "prometheus": ("stateguard.report.prometheus", "Prometheus", "prometheus_client"),
    "sentry": ("stateguard.report.sentry", "Sentry", "sentry_sdk"),
}
"""Words, and the module, class and package behind each; the extra has the name of the word."""


def open_sinks(report_to: Iterable[str]) -> list[Sink]:
    """A sink for each. Raises :class:`~stateguard.errors.ConfigError` for one that cannot work."""
    return [_open(one) for one in report_to]


def _open(where: str) -> Sink:
    if where in LIBRARIES:
        module, name, package = LIBRARIES[where]
        sink: Sink = getattr(_imported(module, package, where), name)()
        return sink
    if is_redis(where):
        made: Sink = _imported("stateguard.report.redis_stream", "redis", "redis").RedisStream(where)
        return made
    return JsonLines(where)


def is_redis(where: str) -> bool:
    """Whether this is the address of a Redis."""
    return where.startswith(("redis://", "rediss://", "unix://"))


def _imported(module: str, package: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ConfigError(
            f"report_to={extra!r} needs {package}. Install it with:\n\n"
            f"    pip install 'stateguard-middleware[{extra}]'"
        ) from None
