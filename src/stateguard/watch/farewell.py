"""What a graph lets go of may have finalizers: when those run, and on whose account.

A large part of state that is dropped is followed bit by bit, in later looks. What runs code when it is let go
of is held until the look is over, with all that may hold it; and who has dropped a node is passed on to those
that leave with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateguard.watch.finalizing import may_run_code, runs_code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stateguard.watch.block import Block
    from stateguard.watch.graph import Difference
    from stateguard.watch.index import Index


class Farewell:
    """Of one graph. A dropper is any object that stands for who was running, ``None`` for who knows whom."""

    __slots__ = ("_droppers", "_out", "_risks", "dropper", "fresh_as_well", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        """Whether any of this is done: it takes time, and finalizers that write are rare."""
        self.dropper: Any = None
        """Who is running while a look is taken."""
        self.fresh_as_well = False
        """Whether also what had not changed before has been changed by those."""
        self._droppers: dict[int, Any] = {}
        """Who has dropped the nodes that may leave, by their ids."""
        self._risks: dict[int, Any] = {}
        """Who has dropped what runs code, by identity: from when that was taken out until nothing waits any
        more that may still hold it."""
        self._out: list[Any] = []
        """Meanwhile, what is held no more."""

    def who(self, difference: Difference) -> Any:
        """Who has made a difference."""
        if difference.late or (difference.fresh and not self.fresh_as_well):
            return None
        return self.dropper

    def note(self, key: int, dropper: Any) -> None:
        """The node of that id may leave because of ``dropper``. To be called where this is :attr:`wanted`."""
        self._droppers[key] = dropper

    def forget(self, key: int) -> Any:
        """The node of that id leaves, or stays: who had dropped it."""
        return self._droppers.pop(key, None) if self.wanted else None

    def hold(self, what: Any) -> None:
        """Hold it until the look has been told of, if code may run then."""
        if self._risks:
            self._out.append(what)

    def risk(self, dropper: Any, what: Any = None) -> None:
        """Something that runs code when it is let go of will be, sooner or later, perhaps with ``what``."""
        self._risks[id(dropper)] = dropper
        if what is not None:
            self._out.append(what)

    def taken_out(self, block: Block, i: int, dropper: Any) -> list[Any]:
        """Node ``i`` of a block is about to be removed: what it has referred to."""
        if not self.wanted:
            return []
        node, info = block.nodes[i], block.infos[i]
        if runs_code(info, node):
            self.risk(dropper)
        if self._risks:
            self._out += (node, block.parents[i], *block.held())
        return block.refs_of(i)[:]

    def followed(self, values: list[Any], dropper: Any, index: Index) -> None:
        """All that a node has led to has been followed: from now on nothing is held for it."""
        if self.wanted:
            if may_run_code(values, but=index):
                self.risk(dropper)
            self.hold(values)

    def about_to_look(self, dirty: Iterable[Block]) -> None:
        """What blocks still hold for nodes that are gone may be let go of now."""
        if self._risks:
            for block in dirty:
                self._out += block.held()

    def take_out(self, waiting: bool) -> tuple[list[Any], list[Any]]:
        """What is held no more, if code may run when it is let go of, and who has dropped that.

        The caller lets go of it, once nothing is being looked at. ``waiting``: there is more to be taken out.
        """
        if not self._risks:
            return [], []
        out, risks = self._out, list(self._risks.values())
        self._out = []
        if not waiting:
            self._risks.clear()
        return out, risks
