"""Conditional imports, ``TYPE_CHECKING``, ``__all__``, PEP 649, module ``__getattr__``, type aliases."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from flask import Flask

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import ujson as json
except ImportError:
    import json

__all__ = ["HISTORY"]
__all__ += ["app"]

app = Flask(__name__)
HISTORY: list[str] = []
COUNTS: dict[str, int] = {}
READY = False
_client: Any = None
log = logging.getLogger(__name__)
cache: dict[str, str] = {}
HANDLERS: dict[str, Callable[[], None]] = {}
if os.environ.get("DEBUG"):
    EXTRA = []
else:
    EXTRA = ["x"]
__version__ = "1"


def __getattr__(name: str) -> Any:
    global _client
    if name == "client":
        if _client is None:
            _client = object()
        return _client
    if name == "late":
        globals()[name] = found = object()
        return found
    raise AttributeError(name)


@app.get("/count")
def count() -> str:
    COUNTS["hits"] = COUNTS.get("hits", 0) + 1
    log.info("hit")
    log.setLevel(logging.DEBUG)
    return str(COUNTS)


@app.get("/put/<q>")
def put(q: str) -> str:
    HISTORY.append(q)  # finding: SG101
    return q


@app.get("/extra/<q>")
def extra(q: str) -> str:
    EXTRA.append(q)  # finding: SG101
    return q


@app.get("/cached/<q>")
def cached(q: str) -> str:
    if q not in cache:
        cache[q] = q.upper()
    return cache[q]


@app.get("/ready/<q>")
def ready(q: str) -> str:
    global READY
    if not READY:
        READY = True
    return q


@app.get("/deleted/<q>")
def deleted(q: str) -> str:
    global HISTORY
    del HISTORY  # finding: SG102
    return q


@app.get("/nonlocal/<q>")
def enclosed(q: str) -> str:
    total = 0
    parts: list[str] = []

    def add(text: str) -> None:
        nonlocal total
        total += 1
        parts.append(text)

    for one in q:
        add(one)
    return str(total)


@app.get("/exceptions/<q>")
def exceptions(q: str) -> str:
    try:
        raise ValueError(q)
    except* ValueError as group:
        group.add_note(q)
        HISTORY.extend(str(one) for one in group.exceptions)  # also: SG101
    return q
