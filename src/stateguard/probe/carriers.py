"""What carried a user's data to another: the shared state that its request wrote, as the guard saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.probe.sender import request_id
from stateguard.report.text import clean, short_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stateguard.leak import Leak

_RANKS = {"critical": 0, "high": 1, "low": 2}


def carriers(leaks: Iterable[Leak], owner: int, number: int) -> tuple[str, ...]:
    """The state that this request of the owner wrote (-1: any of its requests), with the line."""
    known = list(leaks)
    mine, any_of_mine = request_id(owner, number), request_id(owner, 0)[:-1]
    return (
        (_written(known, lambda id: id == mine) if number >= 0 else ())
        or _written(known, lambda id: id.startswith(any_of_mine))
        # What one request made and filled looks like a cache that fills, until others write there.
        or _written(known, lambda id: id.startswith("probe-user"))
    )


def _written(leaks: Sequence[Leak], by: Callable[[str], bool]) -> tuple[str, ...]:
    found: dict[tuple[str, str], tuple[int, bool, str]] = {}
    for leak in leaks:
        if leak.request is None or leak.severity not in _RANKS or not by(leak.request.id):
            continue
        place = leak.location
        where = f" at {short_file(place.file)}:{place.line} in {place.function}" if place else ""
        text = clean(f"{leak.path} {leak.kind}{where} by {leak.request} [{leak.severity}, {leak.confidence}]")
        # Told once without its line and once with it: the latter.
        told = (_RANKS[leak.severity], not where, text)
        found[leak.path, leak.kind] = min(told, found.get((leak.path, leak.kind), told))
    worst = min((rank for rank, _, _ in found.values()), default=0)
    # State that holds data of the request itself carried it; only without any is the rest worth a look.
    return tuple(text for rank, _, text in sorted(found.values()) if rank == worst or worst > 0)[:3]
