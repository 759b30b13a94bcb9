"""What is passed and stored: arguments, members of containers, the one instance of a singleton."""

from __future__ import annotations

from stateguard.audit.facts import Call, FunctionFacts, ModuleFacts, Refs
from stateguard.audit.flow import Flow
from stateguard.audit.places import MAX_PLACES, ONLY_INSTANCE, Places, References
from stateguard.audit.program import Place, Program

MAX_CALLERS = 4
"""Callers of a function up to which each one's argument is taken for what the parameter may be."""


class Passing:
    """The part of the resolver that follows objects into calls and containers."""

    def __init__(self, program: Program, flow: Flow, references: References) -> None:
        self.program = program
        self._flow = flow
        self._references = references
        self._singletons: dict[Place, Places] = {}

    # -- containers --------------------------------------------------------------------------------

    def members(self, place: Place) -> Places:
        """What the containers written at ``place`` (a path ending in ``[]``) were filled with."""
        head, _, rest = place.path.partition("[]")
        base = place._replace(path=head.removesuffix("!"))
        found = [
            p
            for one in self.stored(base)
            for p in self._references.walk(one, rest)
            if not p.path.endswith("[]")
        ]
        for module, fn, binding in self._flow.sources(base):
            for ref in binding.elements:
                found.extend(self._references.resolve(module, fn, ref))
        return tuple(found)

    def stored(self, place: Place) -> Places:
        """What functions put into the module-level container at ``place``."""
        if place.kind != "V" or place.path:
            return ()
        found: list[Place] = []
        for row in self._flow.stored_in(place):
            for ref in row.refs:
                for one in self._references.resolve(row.module, row.fn, ref):
                    found.extend(self.given(one) if one.kind == "P" and not one.path else (one,))
        return tuple(dict.fromkeys(found))[:MAX_PLACES]

    def given(self, place: Place) -> Places:
        """What the program passes for the parameter at ``place``, where its callers are known and few."""
        function = self.program.functions[place.owner]
        rows = self._flow.calls_of(place.owner)
        found: list[Place] = []
        if len(rows) <= MAX_CALLERS:
            callee = Place("F", function.module.name, function.facts.qual)
            for row in rows:
                given = self.argument(row.module, row.fn, callee, function.facts, row.call, place.name)
                found.extend(p for p in given if p.kind not in "PS")
        if function.facts.params[:1] == [place.name]:
            found.extend(self._flow.decorated_by(place.owner))
        return tuple(dict.fromkeys(found))[:MAX_PLACES]

    def held(self, place: Place, key: str = "") -> Places:
        """The member of a function's new container: the one under ``key``, or the only one there is.

        Empty when it cannot be told which one is meant, or when a new object may be.
        """
        function = self.program.functions[place.owner]
        kept = function.facts.holders[int(place.name)]
        if key:
            refs = set(kept.get(key, ())) - {"?"}
        else:
            refs = {ref for row in kept.values() for ref in row}
            if len(refs) != 1:
                return ()
        found = [
            p for ref in sorted(refs) for p in self._references.resolve(function.module, function.facts, ref)
        ]
        return tuple(p for p in found if p.kind not in "PSI")

    # -- calls -------------------------------------------------------------------------------------

    def singleton(self, klass: Place) -> Places:
        """What a class gives to everybody who calls it, if it is always the same object."""
        known = self._singletons.get(klass)
        if known is None:
            self._singletons[klass] = ()
            known = self._singletons[klass] = self._find_singleton(klass)
        return known

    def _find_singleton(self, klass: Place) -> Places:
        program = self.program
        facts = program.class_facts(klass)
        only = Place("A", klass.key, ONLY_INSTANCE)
        if any(d.ref.replace(":", ".").rpartition(".")[2].lower() == "singleton" for d in facts.decorators):
            return (only,)
        new = program.find_method(klass.owner, klass.name, "__new__")
        if new is not None:
            kept = tuple(p for p in self._references.returns(new.key) if p.kind in "VA" and not p.path)
            if kept:
                return kept if program.functions[new.key].facts.owner == klass.name else (only,)
        for owner, one in program.mro(klass.owner, klass.name):
            for meta in program.static(owner.name, one.metaclass) if one.metaclass else ():
                call = program.find_method(meta.owner, meta.name, "__call__") if meta.kind == "C" else None
                if call is not None and any(p.kind in "VA" for p in self._references.returns(call.key)):
                    return (only,)
        return ()

    def argument(
        self,
        module: ModuleFacts,
        fn: FunctionFacts,
        callee: Place,
        target: FunctionFacts,
        call: Call,
        param: str,
    ) -> Places:
        """What the caller passes for a parameter of the callee."""
        bound = bool(target.self_name) and (callee.kind == "B" or target.name == "__init__")
        if bound and target.params and param == target.params[0]:
            return (callee.receiver,) if callee.receiver is not None else ()
        refs = self.passes(callee, target, call, param)
        if refs is not None:
            return tuple(p for ref in refs for p in self._references.resolve(module, fn, ref))
        return tuple(
            p
            for ref in call.kwargs.get("**", ())
            for place in self._references.resolve(module, fn, ref)
            if place.kind == "H"
            for p in self.held(place, repr(param))
        )

    def passes(self, callee: Place, target: FunctionFacts, call: Call, param: str) -> Refs | None:
        """The references that a call passes for a parameter, ``None`` when it passes nothing."""
        refs = call.kwargs.get(param)
        if refs is None and param in target.params:
            bound = target.self_name and (callee.kind == "B" or target.name == "__init__")
            index = target.params.index(param) - (1 if bound else 0)
            if 0 <= index < len(call.args):
                refs = call.args[index]
        return refs
