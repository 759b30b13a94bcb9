"""Find the line that left something in a thread-local: nobody else's look would ever see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateguard.leak import Location

Held = dict[int, dict[str, Any]]
"""What each thread-local holds on one thread, by its identity."""

_ABSENT = object()


class ResidueWitness:
    """Remembers, per traced thread, the line after which an attribute of a thread-local was another."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._places: dict[tuple[int, int, str], Location] = {}

    def line(self, thread: int, held: Held, place: Location | None) -> None:
        """A line has ended at ``place``; the thread's thread-locals hold ``held`` now."""
        before = self._held.get(thread)
        if before is not None and place is not None:
            for local, names in held.items():
                known = before.get(local, {})
                for name, value in names.items():
                    if known.get(name, _ABSENT) is not value:
                        self._places[thread, local, name] = place
        self._held[thread] = held

    def place(self, thread: int, local: int, name: str) -> Location | None:
        """Where an attribute got the value it has."""
        return self._places.get((thread, local, name))

    def forget(self, thread: int) -> None:
        """What the request left on this thread has been reported."""
        self._held.pop(thread, None)
        for key in [key for key in self._places if key[0] == thread]:
            del self._places[key]
