"""Which shared objects each function writes, directly or through the functions it calls.

A function that changes its parameter does no harm by itself. The summary of such a function says which
parameter it changes, and every call that passes something shared for it becomes a write of that shared
object.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from stateguard.audit.callgraph import CallGraph, CallSite
from stateguard.audit.facts import MODULE_BODY, Write
from stateguard.audit.program import Function, Place, Program
from stateguard.audit.resolve import Resolver
from stateguard.audit.walk.names import CERTAIN_MUTATORS, POSSIBLE_MUTATORS

MAX_CHAIN = 4
"""Calls between the shared object and the line that changes it."""
MAX_EFFECTS = 400
"""Parameter effects kept for one function."""

CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__setstate__", "__set_name__", "__del__"})


class Effect(NamedTuple):
    """A function changes what its parameter refers to, at ``path``."""

    param: str
    path: str
    function: str
    write: Write
    chain: tuple[tuple[str, int], ...]


class SharedWrite(NamedTuple):
    """A write of something shared. ``function`` holds the line; ``root`` is the function that named the
    object.

    ``chain`` lists the calls between the two, outermost first: function and line.
    """

    place: Place
    write: Write
    function: str
    root: str
    chain: tuple[tuple[str, int], ...]


class Effects:
    """All shared writes of a program."""

    def __init__(self, program: Program, resolver: Resolver, graph: CallGraph) -> None:
        self.program = program
        self.resolver = resolver
        self.graph = graph
        self.shared: list[SharedWrite] = []
        self._seen: set[tuple[object, ...]] = set()
        self._effects: dict[str, dict[tuple[str, str, int, int, str], Effect]] = {}
        self._queue: deque[tuple[str, Effect]] = deque()
        for function in program.functions.values():
            if function.facts.writes:
                self._direct(function)
        self._propagate()

    def of(self, key: str) -> list[Effect]:
        """The parameter effects of one function."""
        return list(self._effects.get(key, {}).values())

    def _direct(self, function: Function) -> None:
        module, facts = function.module, function.facts
        constructor = facts.name in CONSTRUCTORS and bool(facts.owner)
        own = "p:" + facts.self_name
        for write in facts.writes:
            if facts.qual == MODULE_BODY and write.ref[0] != "g":
                continue
            if constructor and write.ref == own and write.op.startswith(("attr", "delattr")):
                continue
            if write.ref[0] == "g" and write.op in ("bind", "bind+", "unbind"):
                self._shared(Place("V", module.name, write.ref[2:]), write, function.key, function.key, ())
                continue
            if write.ref[0] == "f" and write.op in ("bind", "bind+"):
                qual, _, name = write.ref[2:].partition(":")
                self._shared(Place("L", f"{module.name}:{qual}", name), write, function.key, function.key, ())
                continue
            if write.op == "invoke":
                place = Place("P", function.key, write.ref[2:])
                self._param(function.key, place, write, function.key, (), False)
                continue
            if write.op == "attr+" and "c" not in write.flags:
                # ``self.items += [x]`` extends a list of the class in place, before it binds the name.
                extended = write._replace(op="iadd", how="+=")
                for place in self.resolver.resolve(module, facts, f"{write.ref}.{write.key}"):
                    if place.kind == "A":
                        self._shared(place, extended, function.key, function.key, ())
            for place in self.resolver.resolve(module, facts, write.ref):
                if place.kind in "PS":
                    self._param(function.key, place, write, function.key, (), constructor)
                    if place.kind == "P" and self._has_default(place):
                        self._shared(place, write, function.key, function.key, ())
                else:
                    self._shared(place, write, function.key, function.key, ())

    def _has_default(self, place: Place) -> bool:
        return place.name in self.program.functions[place.owner].facts.defaults

    def _param(
        self,
        key: str,
        place: Place,
        write: Write,
        function: str,
        chain: tuple[tuple[str, int], ...],
        constructor: bool,
    ) -> None:
        owner = place.owner
        if owner != key:
            return
        facts = self.program.functions[key].facts
        if constructor and place.name == facts.self_name:
            return
        if write.op == "call" and write.how in POSSIBLE_MUTATORS and not self._may_contain(place):
            return
        known = self._effects.setdefault(key, {})
        mark = (place.name, place.path, write.line, write.column, function)
        if mark in known or len(known) >= MAX_EFFECTS:
            return
        effect = Effect(place.name, place.path, function, write, chain)
        known[mark] = effect
        self._queue.append((key, effect))

    def _may_contain(self, place: Place) -> bool:
        """Whether an ambiguous method (``add``, ``update``) on a parameter may be a container's."""
        if self.resolver.values.kind(place):
            return True
        return not self.resolver.values.classes(place) and not place.path

    def _shared(
        self, place: Place, write: Write, function: str, root: str, chain: tuple[tuple[str, int], ...]
    ) -> None:
        if place.kind in "IS" or not self._dispatches(place, write, function, chain):
            return
        mark = (place._replace(receiver=None), write.line, write.column, write.op, function, root)
        if mark in self._seen:
            return
        self._seen.add(mark)
        self.shared.append(SharedWrite(place, write, function, root, chain))

    def _dispatches(
        self, place: Place, write: Write, function: str, chain: tuple[tuple[str, int], ...]
    ) -> bool:
        """Whether the object at ``place`` would run this method: its class may have one of its own."""
        facts = self.program.functions[function].facts
        own = "p:" + facts.self_name
        if not chain or not facts.self_name or not write.ref.startswith(own) or "(" in write.ref:
            return True
        steps = write.ref[len(own) :]
        if not place.path.endswith(steps) or self.program.functions[chain[-1][0]].facts.name == facts.name:
            return True  # followed through something else, or called by the method that overrides it
        owner = place._replace(path=place.path[: len(place.path) - len(steps)], receiver=None)
        classes = self.resolver.values.classes(owner)
        found = [self.program.find_method(k.owner, k.name, facts.name) for k in classes]
        return not classes or any(method is None or method.key == function for method in found)

    def _propagate(self) -> None:
        queue = self._queue
        while queue:
            key, effect = queue.popleft()
            if len(effect.chain) >= MAX_CHAIN:
                continue
            for site in self.graph.callers.get(key, ()):
                self._apply(site, effect)

    def _apply(self, site: CallSite, effect: Effect) -> None:
        caller = self.program.functions[site.caller]
        target = self.program.functions[site.callee].facts
        if site.call < 0:
            return
        call = caller.facts.calls[site.call]
        if site.registered and effect.param != target.self_name:
            return
        given = self.resolver.passing.argument(
            caller.module, caller.facts, site.target, target, call, effect.param
        )
        chain = ((site.caller, call.line), *effect.chain)
        write = effect.write
        if call.lock and not write.lock:
            write = write._replace(lock=call.lock)
        # What is only bound here runs with the callee, whoever calls that.
        root = site.callee if call.later or site.registered else site.caller
        for base in given:
            if base.kind == "I" and (base.receiver is None or not effect.path):
                continue
            for place in self.resolver.walk(base, effect.path):
                if write.op == "invoke" and (place.kind != "P" or place.path):
                    self._invoked(place, write, effect.function, root, chain)
                elif place.kind in "PS":
                    constructor = caller.facts.name in CONSTRUCTORS and bool(caller.facts.owner)
                    self._param(site.caller, place, write, effect.function, chain, constructor)
                    if place.kind == "P" and self._has_default(place) and write.op != "invoke":
                        self._shared(place, write, effect.function, root, chain)
                else:
                    self._shared(place, write, effect.function, root, chain)

    def _invoked(
        self, place: Place, write: Write, function: str, root: str, chain: tuple[tuple[str, int], ...]
    ) -> None:
        """The parameter that is called was given ``HISTORY.append``."""
        base, dot, name = place.path.rpartition(".")
        if dot and name in CERTAIN_MUTATORS | POSSIBLE_MUTATORS and place.kind != "P":
            changed = write._replace(op="call", how=name)
            self._shared(place._replace(path=base), changed, function, root, chain)


def is_certain(write: Write) -> bool:
    """Whether the operation changes content whatever the object is."""
    return write.op != "call" or write.how in CERTAIN_MUTATORS or write.how not in POSSIBLE_MUTATORS
