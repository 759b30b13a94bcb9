"""What is kept in place of an object that must not be referred to, not even weakly.

``numpy.ndarray.resize`` refuses when there is another reference to the array, and when there is a weak one.
So a snapshot keeps the array's address and a hash of its content; the array itself is found again through
the object that holds it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from stateguard.watch.content import referents
from stateguard.watch.kinds import qualname

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class StandIn:
    """Stands for the object at an address: always the same one for the same address."""

    __slots__ = ("address", "mark", "name")

    def __init__(self, obj: Any) -> None:
        self.address = id(obj)
        self.name = qualname(type(obj))
        self.look(obj)

    def look(self, obj: Any) -> None:
        """Note the object's content."""
        self.mark = content_mark(obj)

    def stands_for(self, obj: Any) -> bool:
        """Whether ``obj`` is the object."""
        return self.address == id(obj)


def stands_for(held: Any, obj: Any) -> bool:
    """Whether what is held is ``obj``, or what is kept in its place."""
    return held is obj or (type(held) is StandIn and held.stands_for(obj))


def content_mark(array: Any) -> bytes:
    """A hash of an array's shape, type and content."""
    base: Any = next(cls for cls in type(array).__mro__ if cls.__module__ == "numpy")
    state = blake2b(repr((base.shape.__get__(array), str(base.dtype.__get__(array)))).encode(), digest_size=8)
    state.update(base.tobytes(array))
    return state.digest()


def found_through(wanted: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """The objects at these addresses, each found among the references of its holder; ``None`` if gone."""
    seen: dict[int, dict[int, Any]] = {}
    for address, holder in wanted:
        if id(holder) not in seen:
            seen[id(holder)] = {id(ref): ref for ref in referents(holder)}
        yield address, seen[id(holder)].get(address)
