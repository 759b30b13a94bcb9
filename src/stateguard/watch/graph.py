"""The watched object graph: every mutable object reachable from the roots, and what each held last.

A check costs one pass over flat lists. A change costs what it changed: the nodes that differ are read
again, new objects are walked, objects that nothing watched refers to any more are let go.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.compare import identical
from stateguard.watch.content import Content, Unsettled, differing, fingerprint, read, read_with, referents
from stateguard.watch.edges import Anchor
from stateguard.watch.kinds import Kind, TypeInfo, TypeTable
from stateguard.watch.large import Large
from stateguard.watch.nodes import Nodes
from stateguard.watch.release import Release
from stateguard.watch.rotation import Rotation
from stateguard.watch.walk import STRIDE, Walk

HOT = 32_768
"""References of the nodes that have changed before, at most: they are compared at every look."""


class Difference:
    """One node that is not as it was. Holds application objects: to be described and dropped at once."""

    __slots__ = ("after", "before", "fresh", "info", "node")

    def __init__(
        self, node: Any, info: TypeInfo, before: Content, after: Content, fresh: bool = False
    ) -> None:
        self.node = node
        self.info = info
        self.before = before
        self.after = after
        self.fresh = fresh
        """The node had not changed before, as far as anybody has seen."""


class Graph(Nodes):
    """Compares nodes with how they were, and follows what has changed. Not thread-safe."""

    def __init__(self, table: TypeTable) -> None:
        super().__init__(table)
        self.eager = True
        """Whether what comes is walked at once, however much it is; otherwise :attr:`walk` is to be run."""
        self.portion: int | None = None
        """New nodes that a look walks through at most; what is left lies in :attr:`walk`."""
        self.walk = Walk(self)
        self.rotation = Rotation(self)
        self.release = Release(self)

    # -- growing ---------------------------------------------------------------------------------

    def add_root(
        self,
        obj: Any,
        anchor: Anchor,
        info: TypeInfo | None = None,
        cold: bool = False,
    ) -> None:
        """Watch ``obj`` and all that is reachable from it."""
        if id(obj) in self._anchored:
            return
        self._anchored[id(obj)] = anchor
        if obj in self:
            self._count(id(obj))
            self._set_parent(obj, anchor)
        else:
            self.walk.meet(obj, anchor, info or self.table.info(type(obj)), cold)
        if self.eager:
            self.walk.run()

    # -- checking --------------------------------------------------------------------------------

    def check(self, keys: bool = True) -> list[Difference]:
        """Look at every node but the cold ones; return those that differ, and remember how they are now.

        Without ``keys``, a key renamed while its value stays is left for the next full check to find, unless
        the node has changed before: :meth:`check_hot` would find it, and blame those who are running then.
        """
        # Absorbing rearranges the blocks: look at all of one kind first.
        found: list[Difference] = []
        removed: list[Any] = []
        for block in [block for block in list(self.hot) if not self._whole(block, found, removed)]:
            self._absorb(block, found, removed)
        for block in [block for block in list(self.blocks) if not self._whole(block, found, removed, keys)]:
            self._absorb(block, found, removed, fresh=True)
        for block in [block for block in self.spaces if not block.clean(keys=False)]:
            self._absorb(block, found, removed, fresh=True)
        if self.probes.nodes:
            self._absorb_probes(list(self.probes.nodes), found, removed)
        if found:
            self._tidy(removed)
        return found

    def check_hot(self) -> list[Difference]:
        """The same for the nodes that have changed before."""
        found: list[Difference] = []
        removed: list[Any] = []
        for block in [block for block in list(self.hot) if not self._glance(block, found, removed)]:
            self._absorb(block, found, removed)
        if self.probes.hot:
            self._absorb_probes(list(self.probes.hot), found, removed)
        if found:
            self._tidy(removed)
        return found

    def check_cold(self) -> list[Difference]:
        """The same for the cold nodes, and for the names in namespaces."""
        found: list[Difference] = []
        removed: list[Any] = []
        for block in [block for block in self.cold if not block.clean()]:
            self._absorb(block, found, removed)
        for block in [block for block in self.spaces if not block.clean()]:
            self._absorb(block, found, removed, fresh=True)
        if found:
            self._tidy(removed)
        return found

    def check_slice(self, until: int) -> list[Difference]:
        """Go on with the round through all nodes, until the clock (``perf_counter_ns``) shows ``until``.

        Whatever has come is walked first, and whatever has gone is let go of, but for half of the time at
        most: a state that is always growing is looked at all the same.
        """
        if self.walk or self.release:
            now = perf_counter_ns()
            half = now + (until - now) // 2
            self.walk.run(half)
            self.release.run(half)
            self._dirty.clear()
        found: list[Difference] = []
        removed: list[Any] = []
        while True:
            unit = self.rotation.next()
            if unit is None:
                break
            if isinstance(unit, int):
                if unit in self.probes.nodes:
                    self._absorb_probes([unit], found, removed)
            else:
                as_it_was = self._go_on(unit, until, found, removed)
                fresh = unit not in self.cold and unit not in self.hot
                if as_it_was is None or not (
                    as_it_was or self._absorb(unit, found, removed, fresh=fresh, until=until)
                ):
                    self.rotation.again(unit)
            if perf_counter_ns() >= until:
                break
        if found:
            self._tidy(removed, until)
        return found

    @property
    def unsettled(self) -> bool:
        """Whether there is more to walk, or to let go of, than a look has had time for."""
        return bool(self.walk or self.release.leaving)

    def is_glanced_at(self, block: Block) -> bool:
        """Whether only the end of it is compared at every look, and all of it when its turn comes."""
        return self.portion is not None and type(block) is Large and block.ordered and len(block.refs) > HOT

    def _glance(self, block: Block, found: list[Difference], removed: list[Any]) -> bool:
        """Whether a block is as it was, but for what may have come to the end of it: that is taken in."""
        if not (type(block) is Large and self.is_glanced_at(block)):
            return block.clean()
        growth = block.grown()
        if growth is not None and growth.values:
            if self._any_tender(growth.values):
                return False
            node, info, parent = block.nodes[0], block.infos[0], block.parents[0]
            if not (self.walk and self.walk.is_open(node)):
                before, after = block.extend(growth)
                found.append(Difference(node, info, before, after, fresh=block not in self.hot))
                self._relink(node, info, before, after, parent, removed)
                if self.blocks.pop(block, self) is not self:
                    self.hot[block] = None
                    self._cool()
        return growth is not None

    def _whole(self, block: Block, found: list[Difference], removed: list[Any], keys: bool = True) -> bool:
        """The same when all of it is compared: to read a large block once more takes many times as long."""
        if self.is_glanced_at(block) and not self._glance(block, found, removed):
            return False
        return block.clean(keys)

    def _go_on(self, block: Block, until: int, found: list[Difference], removed: list[Any]) -> bool | None:
        """Whether a block is as it was; ``None`` if there has not been time for all of it."""
        if type(block) is not Large:
            return block.clean()
        if self.is_glanced_at(block) and not self._glance(block, found, removed):
            return False
        return block.go_on(until)

    def _tidy(self, removed: list[Any], until: int | None = None) -> None:
        for obj in removed:
            self.release.uncount(obj)
        if until is None:
            self.walk.run(nodes=None if self.portion is None else len(self) + self.portion)
            self.release.run(nodes=self.portion)
            self._seal()
        self._dirty.clear()  # in slices, each block is sealed when its turn comes

    def _seal(self) -> None:
        for block in self._dirty:
            block.seal()

    # -- absorbing -------------------------------------------------------------------------------

    def _absorb(
        self,
        block: Block,
        found: list[Difference],
        removed: list[Any],
        fresh: bool = False,
        until: int | None = None,
    ) -> bool:
        """Take in what differs in a block; whether all of it, before the clock showed ``until``."""
        complete = True
        for i, now in list(block.changed()):
            node, info = block.nodes[i], block.infos[i]
            if self.walk and self.walk.is_open(node):
                continue  # seen as changed when its children have been met
            was = info
            if type(node) is not info.cls:  # ``obj.__class__ = Other``
                info = self.table.expanded(type(node))
            try:
                # Where stand-ins are compared, whoever keeps the references puts them in.
                refs, after = read_with(info, node, now if block.soften is None else referents(node))
            except Unsettled:
                continue
            before = block.content(i)
            if self.walk and before.own is not None and self.walk.is_open(before.own):
                continue
            parent = block.parents[i]
            found.append(Difference(node, was, before, after, fresh))
            block.infos[i] = info  # not before it is told: it may not have settled
            if (
                fresh
                or (block.soften is None and self._gains_tender(refs, before, after))
                or (len(refs) > LARGE and len(block) > 1)
            ):
                block.remove(i)
                self._dirty.add(block)
                self._retire(block)
                self._settle_in(self._home("hot", refs, info), node, info, parent, refs, after)
            else:
                block.replace(i, refs, after)
                self._dirty.add(block)
            self._relink(node, info, before, after, parent, removed)
            if after.own is not None and after.own is before.own:
                self._absorb_own(after.own, found, removed, fresh)
            if until is not None and perf_counter_ns() >= until:
                complete = False
                break
        if block in self.hot:
            self.hot[block] = self.hot.pop(block)  # the most recent last
            if len(block.refs) > HOT:
                self._cool()
        elif self.hot:
            self._cool()
        return complete

    def _gains_tender(self, refs: list[Any], before: Content, after: Content) -> bool:
        """Whether something has come that must not be held where a node's references are kept as they are."""
        if after.own is None and after.slots is None:
            refs = differing(before, after)[1].values
        return self._any_tender(refs)

    def _cool(self) -> None:
        """Keep what is looked at most often small: what has not changed for longest leaves."""
        sizes = {block: 1 if self.is_glanced_at(block) else len(block.refs) for block in self.hot}
        size = sum(sizes.values())
        for block, refs in sizes.items():
            if size <= HOT or (len(self.hot) == 1 and self.portion is None):
                break
            size -= refs
            del self.hot[block]
            self.blocks[block] = None
            for group in [group for group, kept in self._open.items() if kept is block]:
                del self._open[group]

    def _absorb_own(
        self, own: dict[str, Any], found: list[Difference], removed: list[Any], fresh: bool
    ) -> None:
        """Attributes that lie inside the instance (CPython 3.13), where its own references show them."""
        block = self._index.get(id(own))
        if block is None:
            return
        i = block.position(own)
        info, parent, before = block.infos[i], block.parents[i], block.content(i)
        refs = referents(own)
        try:
            refs, after = read_with(info, own, refs)
        except Unsettled:
            return
        if identical(before.values, after.values) and identical(before.keys or [], after.keys or []):
            return
        found.append(Difference(own, info, before, after, fresh))
        block.replace(i, refs, after)
        self._dirty.add(block)
        self._relink(own, info, before, after, parent, removed)

    def _absorb_probes(self, keys: list[int], found: list[Difference], removed: list[Any]) -> None:
        for key, there in list(self.probes.alive(keys)):
            node = self._find_again(key) if there is None else there
            if node is None:
                self.probes.remove(key)
                self._extra.pop(key, None)
                continue
            info, before = self.probes.infos[key], self.probes.contents[key]
            if fingerprint(node) == before.fingerprint:
                continue
            after = read(info, node, referents(node))
            found.append(Difference(node, info, before, after, key not in self.probes.hot))
            self.probes.update(key, node, after)
            self._relink(node, info, before, after, self.probes.parents[key], removed)

    def _find_again(self, key: int) -> Any:
        """An array that its holder has let go of and that another node may still hold."""
        stand_in = self.probes.nodes[key]
        for block in self._all_blocks():
            if not any(ref is stand_in for ref in block.refs):
                continue
            for holder in block.nodes:
                for ref in referents(holder):
                    if id(ref) == key and type(ref) is self.probes.infos[key].cls:
                        self.probes.parents[key] = holder
                        return ref
        return None

    def _relink(
        self, node: Any, info: TypeInfo, before: Content, after: Content, parent: Any, removed: list[Any]
    ) -> None:
        """Follow the edges that came; note the objects whose edge went."""
        old, new = before, after
        if info.kind is not Kind.CLASS and info.kind is not Kind.CACHE:  # whose values have their places
            old, new = differing(before, after)
        gone: dict[int, list[Any]] = {}
        for child, _ in self.edges.of(node, info, old, parent):
            gone.setdefault(id(child), []).append(child)
        come = []
        for child, known in self.edges.of(node, info, new, parent):
            waiting = gone.get(id(child))
            if waiting:
                waiting.pop()
            else:
                come.append((child, known))
        if len(come) <= STRIDE:
            for child, known in come:
                self.walk.meet(child, node, known)
        else:
            self.walk.add(node, come)
        for children in gone.values():
            removed.extend(children)
