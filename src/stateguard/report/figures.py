"""Which figures of a guard's own account go out as metrics, and what they are."""

from __future__ import annotations

FIGURES = {
    "share": "Time spent looking as a share of request time",
    "seconds": "Time spent looking",
    "request_seconds": "Time for which requests were being served",
    "longest_pause": "The longest single look, in seconds",
    "checks": "How often state was compared",
    "requests": "Requests that have begun",
    "nodes": "Mutable objects that are watched",
    "lag_seconds": "How long a change may stay unseen at present",
    "memory": "Bytes that the snapshot takes, about",
}
"""Names in :class:`~stateguard.stats.Stats`."""
