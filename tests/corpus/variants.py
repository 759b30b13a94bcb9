"""Every leak once more, in each of the ways in which a request's code comes to run."""

from __future__ import annotations

from tests.corpus.case import Case, Truth, overlapping
from tests.corpus.catalogue import UPSTREAM, Protocol

SHAPES = ("alias", "worker thread", "streamed response", "background task", "websocket")


def carried(original: Case, shape: str, protocol: Protocol, deed: str = "write") -> Case:
    """The case with its write carried in another way."""
    carrier = "close() of the body" if protocol == "wsgi" and shape == "background task" else shape
    sends = ("hi",) if carrier == "websocket" else None
    return Case(
        f"{original.name}_{'_'.join(shape.split()[:2])}",
        original.source,
        protocol,
        "leak",
        overlapping("/write?user={user}", "/read", sends),
        tuple(Truth(truth.path, truth.marker, truth.no_line) for truth in original.truths),
        original.module or original.name,
        tuple("/read" for _ in original.warm),
        f"{carrier}, {protocol}",
        carrier,
        deed,
        original.beside,
    )


def _protocol(number: int, shape: str) -> Protocol:
    """Both protocols in turn, so that every shape meets both: but for websockets, which only ASGI has."""
    return "asgi" if shape == "websocket" or (number + SHAPES.index(shape)) % 2 else "wsgi"


VARIANTS = tuple(
    carried(original, shape, _protocol(number, shape))
    for number, original in enumerate(UPSTREAM)
    for shape in SHAPES
)
