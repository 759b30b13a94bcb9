"""The watched object graph: every mutable object reachable from the roots, and what each held last.

A check costs one pass over flat lists. A change costs what it changed: the nodes that differ are read
again, new objects are walked, objects that nothing watched refers to any more are let go.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from time import perf_counter_ns, thread_time_ns
from typing import Any

from stateguard.watch.block import LARGE, Block
from stateguard.watch.compare import identical
from stateguard.watch.content import Content, Unsettled, differing, fingerprint, read, read_with, referents
from stateguard.watch.edges import Anchor
from stateguard.watch.kinds import Kind, TypeInfo, TypeTable
from stateguard.watch.large import Large
from stateguard.watch.nodes import Nodes
from stateguard.watch.release import Release, Removed
from stateguard.watch.rotation import Rotation
from stateguard.watch.walk import STRIDE, Walk

HOT = 32_768
"""References of the nodes that have changed before, at most: they are compared at every look."""


MUCH = 1024
"""References that have come and gone at once, beyond which they are followed step by step."""


class Difference:
    """One node that is not as it was. Holds application objects: to be described and dropped at once."""

    __slots__ = ("after", "before", "fresh", "info", "late", "node")

    def __init__(
        self,
        node: Any,
        info: TypeInfo,
        before: Content,
        after: Content,
        fresh: bool = False,
        late: bool = False,
    ) -> None:
        self.node = node
        self.info = info
        self.before = before
        self.after = after
        self.fresh = fresh
        """The node had not changed before, as far as anybody has seen."""
        self.late = late
        """An earlier look has left it out: it may have changed before that."""


class Graph(Nodes):
    """Compares nodes with how they were, and follows what has changed. Not thread-safe."""

    def __init__(self, table: TypeTable) -> None:
        super().__init__(table)
        self.eager = True
        """Whether what comes is walked at once, however much it is; otherwise :attr:`walk` is to be run."""
        self.allowance: int | None = None
        """Nanoseconds for which a look follows what has changed; the rest is left to the slices."""
        self.telling = 0
        """About how many nanoseconds it takes to tell of one difference, beside finding it."""
        self.behind = False
        """Whether a look has had no time for all that differs: set here, and taken back by who asks."""
        self._until: int | None = None
        """When, by the processor time of this thread, the look under way is over. What others on the machine
        take meanwhile is not its doing, and must not decide what can be proven."""
        self._began = 0
        """When the look under way began, by that time."""
        self._taken = 0
        """How much of it passing looks have taken since the last that was none."""
        self._cut = False
        """Whether the look before has not got to all that had changed before."""
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
        if obj in self and not self.release.revive(obj):
            self._count(id(obj), anchor)
            self._set_parent(obj, anchor)
        else:
            self.walk.meet(obj, anchor, info or self.table.info(type(obj)), cold)
        if self.eager:
            self.walk.run()

    def _set_parent(self, node: Any, parent: Any) -> None:
        if self.release.farewell.wanted:
            before = self.parent(node)
            if before is not None and before not in self and type(before) is not Anchor:
                self.release.farewell.risk(None, before)  # what it has led to is not known any more
        super()._set_parent(node, parent)

    def _count(self, key: int, holder: Any) -> None:
        super()._count(key, holder)
        self.release.touch(key)

    # -- checking --------------------------------------------------------------------------------

    def check(self, keys: bool = True) -> list[Difference]:
        """Look at every node but the cold ones; return those that differ, and remember how they are now.

        Without ``keys``, a key renamed while its value stays is left for the next full check to find, unless
        the node has changed before: :meth:`check_hot` would find it, and blame those who are running then.
        """
        # Absorbing rearranges the blocks: look at all of one kind first.
        found: list[Difference] = []
        removed: list[Removed] = []
        until = self._begin()
        hot = [block for block in list(self.hot) if not self._whole(block, found, removed)]
        complete = self._absorb_hot(hot, found, removed, until)
        others = [block for block in list(self.blocks) if not self._whole(block, found, removed, keys)]
        others += [block for block in self.spaces if not block.clean(keys=False)]
        others.sort(key=lambda block: len(block.refs))  # what takes longest last: the slices will get to it
        complete = complete and self._absorb_all(others, found, removed, until, fresh=True)
        if self.probes.nodes:
            self._absorb_probes(list(self.probes.nodes), found, removed)
        self._end(complete, found, removed, until)
        return found

    def check_hot(self, passing: bool = False) -> list[Difference]:
        """The same for the nodes that have changed before. ``passing``: one of the looks after each line of a
        stretch, which share their time; what has gone is let go of by the look at its end.
        """
        found: list[Difference] = []
        removed: list[Removed] = []
        until = self._begin(passing)
        hot = [block for block in list(self.hot) if not self._glance(block, found, removed)]
        complete = self._absorb_hot(hot, found, removed, until)
        if self.probes.hot:
            self._absorb_probes(list(self.probes.hot), found, removed)
        self._end(complete, found, removed, until, passing)
        return found

    def check_cold(self) -> list[Difference]:
        """The same for the cold nodes, and for the names in namespaces."""
        found: list[Difference] = []
        removed: list[Removed] = []
        until = self._begin()
        cold = [block for block in self.cold if not block.clean()]
        complete = self._absorb_all(cold, found, removed, until)
        spaces = [block for block in self.spaces if not block.clean()]
        complete = complete and self._absorb_all(spaces, found, removed, until, fresh=True)
        self._end(complete, found, removed, until)
        return found

    def check_slice(self, until: int) -> list[Difference]:
        """Go on with the round through all nodes, until the clock (``perf_counter_ns``) shows ``until``.

        Whatever has come is walked first, and whatever has gone is let go of, but for half of the time at
        most: a state that is always growing is looked at all the same.
        """
        self.release.farewell.about_to_look(self._dirty)
        if self.walk or self.release:
            now = perf_counter_ns()
            self._follow(now + (until - now) // 2)
        self._until = None  # by the clock
        found: list[Difference] = []
        removed: list[Removed] = []
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
                    as_it_was or self._absorb(unit, found, removed, until, fresh=fresh)
                ):
                    self.rotation.again(unit)
            if self._is_over(until, found):
                break
        self.release.uncount_removed(removed)
        self._let_go(until)
        return found

    @property
    def unsettled(self) -> bool:
        """Whether there is more to walk, or to let go of, than a look has had time for."""
        return bool(self.walk or self.release.leaving)

    @property
    def owing(self) -> bool:
        """The same, or whether something that had changed before has been left out."""
        return self.unsettled or self._cut

    def is_glanced_at(self, block: Block) -> bool:
        """Whether only the end of it is compared at every look, and all of it when its turn comes."""
        return self.allowance is not None and type(block) is Large and block.ordered and len(block.refs) > HOT

    def _glance(self, block: Block, found: list[Difference], removed: list[Removed]) -> bool:
        """Whether a block is as it was, but for what may have come to the end of it: that is taken in."""
        if not (type(block) is Large and self.is_glanced_at(block)):
            return block.clean()
        growth = block.grown()
        if growth is not None and growth.values:
            if self._any_tender(growth.values):
                return False
            node, info, parent = block.nodes[0], block.infos[0], block.parents[0]
            if self.walk and self.walk.is_open(node):
                self._postponed.add(id(node))
            else:
                before, after = block.extend(growth)
                fresh = block not in self.hot
                found.append(Difference(node, info, before, after, fresh, self._is_late(node)))
                self._relink(found[-1], info, parent, removed)
                if self.blocks.pop(block, self) is not self:
                    self.hot[block] = None
                    self._cool()
        return growth is not None

    def _whole(
        self, block: Block, found: list[Difference], removed: list[Removed], keys: bool = True
    ) -> bool:
        """The same when all of it is compared: to read a large block once more takes many times as long."""
        if self.is_glanced_at(block) and not self._glance(block, found, removed):
            return False
        return block.clean(keys)

    def _go_on(
        self, block: Block, until: int, found: list[Difference], removed: list[Removed]
    ) -> bool | None:
        """Whether a block is as it was; ``None`` if there has not been time for all of it."""
        if type(block) is not Large:
            return block.clean()
        if self.is_glanced_at(block) and not self._glance(block, found, removed):
            return False
        return block.go_on(until)

    def _begin(self, passing: bool = False) -> int | None:
        """A look begins: until when, by the clock (``perf_counter_ns``), it follows what has changed."""
        self.release.farewell.about_to_look(self._dirty)
        if self.allowance is None:
            return None
        if not passing:
            self._taken = 0
        left = max(self.allowance - self._taken, self.allowance // 8)
        self._began = thread_time_ns()
        self._until = self._began + left
        return perf_counter_ns() + left

    def _is_over(self, until: int | None, found: list[Difference]) -> bool:
        """Whether the time has come to tell of what has been found."""
        telling = self.telling * len(found) // 2  # only half of it: what is left out cannot be proven
        return (
            until is not None
            and perf_counter_ns() + telling >= until
            and (self._until is None or thread_time_ns() + telling >= self._until)
        )

    def _end(
        self,
        complete: bool,
        found: list[Difference],
        removed: list[Removed],
        until: int | None,
        passing: bool = False,
    ) -> None:
        """A look ends: follow what has come and gone, as far as there is time."""
        if not complete:
            self.behind = True
        self.release.uncount_removed(removed)
        if until is not None and self._until is not None and self.allowance is not None:
            # Where nothing has been found, nobody waits for what is left: an eighth of the time will do. But
            # if more comes than goes, it takes what it may, and the budget makes looks rarer.
            left = max(self._until - thread_time_ns(), self.allowance // 4)
            if passing or not (found or self.release.is_backlog):
                left = self.allowance // 8
            until = perf_counter_ns() + left
        if passing and until is not None:
            self.walk.run(until)
        else:
            self.release.try_again()
            if found or self.release or self._dirty:
                self._follow(until)
                self._let_go(until)
        if passing and found and until is not None:
            self._taken += thread_time_ns() - self._began

    def _follow(self, until: int | None) -> None:
        """Let go of what has gone, then walk through what has come: what has gone meanwhile need not be."""
        if until is not None and self.release:
            now = perf_counter_ns()
            self.release.run(now + max(until - now, 0) * 3 // 4)
        self.walk.run(until)
        self.release.run(until)

    def _let_go(self, until: int | None) -> None:
        """Hold nothing for nodes that have been removed from their blocks."""
        while self._dirty:
            self._dirty.pop().seal()
            if until is not None and perf_counter_ns() >= until:
                return

    # -- absorbing -------------------------------------------------------------------------------

    def _absorb_hot(
        self, blocks: list[Block], found: list[Difference], removed: list[Removed], until: int | None
    ) -> bool:
        """The same of all blocks of nodes that have changed before and that differ."""
        complete = self._absorb_all(blocks, found, removed, until)
        self._cut = not complete
        return complete

    def _absorb_all(
        self,
        blocks: list[Block],
        found: list[Difference],
        removed: list[Removed],
        until: int | None,
        fresh: bool = False,
    ) -> bool:
        """Take in what differs in these blocks; whether there was time for all of it."""
        for n, block in enumerate(blocks):
            complete = until is None or not block.resumed
            complete = self._absorb(block, found, removed, until, fresh) and complete
            if not complete or (n + 1 < len(blocks) and self._is_over(until, found)):
                return False
        return True

    def _absorb(
        self,
        block: Block,
        found: list[Difference],
        removed: list[Removed],
        until: int | None,
        fresh: bool = False,
    ) -> bool:
        """Take in what differs in a block, from where the time was over before; whether to the end."""
        start, block.resumed = (0 if until is None else block.resumed), 0
        complete = True
        left = [one for one in sorted(block.changed(), key=itemgetter(0)) if one[0] >= start]
        left.reverse()
        while left:
            i, now = left.pop()
            node, info = block.nodes[i], block.infos[i]
            if self.walk and self.walk.is_open(node):
                self._postponed.add(id(node))  # seen as changed when its children have been met
                continue
            was = info
            if type(node) is not info.cls:  # ``obj.__class__ = Other``
                info = self.table.expanded(type(node))
            try:
                # Where stand-ins are compared, whoever keeps the references puts them in.
                refs, after = read_with(info, node, now if block.soften is None else referents(node))
            except Unsettled:
                self._postponed.add(id(node))
                continue
            before = block.content(i)
            if self.walk and before.own is not None and self.walk.is_open(before.own):
                self._postponed |= {id(node), id(before.own)}
                continue
            parent = block.parents[i]
            # Of what is looked at by its end, only growth is seen when it comes.
            late = self._is_late(node) or self.is_glanced_at(block)
            found.append(Difference(node, was, before, after, fresh, late))
            block.retype(i, info)  # not before it is told: it may not have settled
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
            self._relink(found[-1], info, parent, removed)
            if after.own is not None and after.own is before.own:
                self._absorb_own(after.own, found, removed, fresh)
            if left and self._is_over(until, found):
                block.resumed = i + 1
                complete = False
                break
        if block in self.hot:
            self.hot[block] = self.hot.pop(block)  # the most recent last
            if len(block.refs) > HOT:
                self._cool()
        elif self.hot:
            self._cool()
        return complete

    def _is_late(self, node: Any) -> bool:
        """Whether an earlier look has left the node out, which this one does not."""
        key = id(node)
        late = self._cut or key in self._postponed
        self._postponed.discard(key)
        return late

    def _gains_tender(self, refs: list[Any], before: Content, after: Content) -> bool:
        """Whether something has come that must not be held where a node's references are kept as they are."""
        if after.own is None and after.slots is None:
            refs = differing(before, after)[1].values
        return self._any_tender(refs)

    def _cool(self) -> None:
        """Keep what is looked at most often small: what has not changed for longest leaves."""
        sizes = {block: 1 if self.is_glanced_at(block) else len(block.refs) for block in self.hot}
        size = sum(sizes.values())
        for block, refs in sorted(
            sizes.items(), key=lambda one: one[1] <= HOT
        ):  # what alone is too much first
            if size <= HOT or (len(self.hot) == 1 and self.allowance is None):
                break
            size -= refs
            del self.hot[block]
            self.blocks[block] = None
            for group in [group for group, kept in self._open.items() if kept is block]:
                del self._open[group]

    def _absorb_own(
        self, own: dict[str, Any], found: list[Difference], removed: list[Removed], fresh: bool
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
        found.append(Difference(own, info, before, after, fresh, self._is_late(own)))
        block.replace(i, refs, after)
        self._relink(found[-1], info, parent, removed)

    def _absorb_probes(self, keys: list[int], found: list[Difference], removed: list[Removed]) -> None:
        for key, there in list(self.probes.alive(keys)):
            node = self._find_again(key) if there is None else there
            if node is None:
                self.probes.remove(key)
                self._extra.pop(key, None)
                self.release.farewell.forget(key)
                continue
            info, before = self.probes.infos[key], self.probes.contents[key]
            if fingerprint(node) == before.fingerprint:
                continue
            after = read(info, node, referents(node))
            fresh = key not in self.probes.hot
            found.append(Difference(node, info, before, after, fresh, self._is_late(node)))
            self.probes.update(key, node, after)
            self._relink(found[-1], info, self.probes.parents[key], removed)

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

    def _relink(self, difference: Difference, info: TypeInfo, parent: Any, removed: list[Removed]) -> None:
        """Follow the edges that came; note the objects whose edge went."""
        node, before, after = difference.node, difference.before, difference.after
        if self.release.is_condemned(id(node)):
            return
        self.release.touch(id(node))
        old, new = before, after
        if info.kind is not Kind.CLASS and info.kind is not Kind.CACHE:  # whose values have their places
            old, new = differing(before, after)
        if len(old.values) + len(new.values) > MUCH:
            # Step by step, as far as there is time. What stays has one edge more until those that went are
            # taken away.
            if new.values:
                self.walk.add(node, self.edges.of(node, info, new, parent))
            objects = (child for child, _ in self.edges.of(node, info, old, parent))
            farewell = self.release.farewell
            values = old.values[:] if farewell.wanted else []
            self.release.uncount_all(node, objects, values, farewell.who(difference))
            return
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
        if gone:
            left = list(chain.from_iterable(gone.values()))
            removed.append((left, self.release.farewell.who(difference)))
