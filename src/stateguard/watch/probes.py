"""Nodes whose state no reference shows: buffers and counters, compared by a fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateguard.watch.standin import StandIn, found_through

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stateguard.watch.content import Content
    from stateguard.watch.kinds import TypeInfo


class Probes:
    """The probed nodes of one graph. Those that must not be referred to are kept as stand-ins."""

    __slots__ = ("_stand_ins", "contents", "hot", "infos", "nodes", "parents")

    def __init__(self) -> None:
        self.nodes: dict[int, Any] = {}
        self.hot: set[int] = set()
        """Those that have changed before."""
        self.infos: dict[int, TypeInfo] = {}
        self.parents: dict[int, Any] = {}
        self.contents: dict[int, Content] = {}
        self._stand_ins: dict[int, StandIn] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def stand_in(self, obj: Any) -> StandIn:
        """The stand-in for an object: the same one for as long as the object is known."""
        found = self._stand_ins.get(id(obj))
        if found is None:
            found = self._stand_ins[id(obj)] = StandIn(obj)
        return found

    def add(self, node: Any, info: TypeInfo, parent: Any, content: Content) -> None:
        """Take in a node."""
        key = id(node)
        self.nodes[key] = self.stand_in(node) if info.tender else node
        self.infos[key] = info
        self.parents[key] = parent
        self.contents[key] = content

    def alive(self, keys: Iterable[int]) -> Iterator[tuple[int, Any]]:
        """The nodes of these keys; ``None`` for one that is not where it was."""
        tender = []
        for key in keys:
            held = self.nodes.get(key)
            if type(held) is StandIn:
                tender.append((key, self.parents[key]))
            else:
                yield key, held
        for key, found in found_through(tender):
            yield key, found if type(found) is self.infos[key].cls else None

    def node(self, key: int) -> Any:
        """The object, or ``None`` where it is gone."""
        return next(self.alive((key,)))[1]

    def update(self, key: int, node: Any, content: Content) -> None:
        """The node has changed."""
        self.contents[key] = content
        self.hot.add(key)
        held = self._stand_ins.get(key)
        if held is not None:
            held.look(node)

    def remove(self, key: int) -> None:
        """Forget a node."""
        self.hot.discard(key)
        for table in (self.nodes, self.infos, self.parents, self.contents, self._stand_ins):
            table.pop(key, None)
