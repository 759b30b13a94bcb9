"""What objects are: the classes, outside calls and containers that a place may hold."""

from __future__ import annotations

from stateguard.audit.facts import MODULE_BODY, Binding, ClassFacts, FunctionFacts, ModuleFacts
from stateguard.audit.flow import Flow
from stateguard.audit.passing import Passing
from stateguard.audit.places import MAX_PLACES, ONLY_INSTANCE, Depth, Places, References
from stateguard.audit.program import Place, Program
from stateguard.audit.walk.names import ANNOTATION_KINDS, CLASS_VARIABLE, container_kind


class Values:
    """The part of the resolver that looks at values; every answer is remembered."""

    def __init__(
        self, program: Program, flow: Flow, references: References, passing: Passing, depth: Depth
    ) -> None:
        self.program = program
        self._flow = flow
        self._references = references
        self._passing = passing
        self._depth = depth
        self._classes: dict[Place, Places] = {}
        self._made_from: dict[Place, Places] = {}

    def classes(self, place: Place) -> Places:
        """The classes of the program that an object at ``place`` may be an instance of."""
        if place.kind == "I" and not place.path:
            return (Place("C", place.owner, place.name),)
        known = self._classes.get(place)
        if known is not None:
            return known
        self._classes[place] = ()
        found: list[Place] = []
        for value in self.made_from(place):
            if value.kind == "I" and not value.path:
                found.append(Place("C", value.owner, value.name))
        self._classes[place] = tuple(dict.fromkeys(found))
        return self._classes[place]

    def made_from(self, place: Place) -> Places:
        """What the object at ``place`` was made from: ``I`` for instances, ``E`` for outside calls."""
        known = self._made_from.get(place)
        if known is None:
            if self._depth.exhausted:
                return ()
            self._made_from[place] = ()
            self._depth.waiting += 1
            try:
                known = tuple(dict.fromkeys(self._find_made_from(place)))[:MAX_PLACES]
            finally:
                self._depth.waiting -= 1
            self._made_from[place] = known
        return known

    def _find_made_from(self, place: Place) -> Places:
        kind, path = place.kind, place.path
        program = self.program
        if path:
            return self._path_values(place)
        if kind == "V":
            module = program.modules.get(place.owner)
            if module is None:
                return ()
            body = module.functions[MODULE_BODY]
            return self._binding_values(module, body, module.bindings.get(place.name, ()))
        if kind == "A":
            owner, _, qual = place.owner.partition(":")
            facts = program.modules[owner].classes.get(qual)
            if facts is None:
                return ()
            body = program.modules[owner].functions[facts.parent]
            found = self._binding_values(program.modules[owner], body, facts.attrs.get(place.name, ()))
            if place.name == ONLY_INSTANCE or (not found and self._keeps_instance(owner, facts, place.name)):
                return (Place("I", owner, qual),)
            return found
        if kind in "PS":
            function = program.functions[place.owner]
            fn = function.facts
            if place.name == fn.self_name:
                return (Place("I", function.module.name, fn.owner),)
            annotation = fn.annotations.get(place.name)
            return self.annotated(function.module, annotation) if annotation else ()
        if kind == "L":
            function = program.functions[place.owner]
            return tuple(
                p
                for ref in function.facts.captured.get(place.name, ())
                for p in self._references.resolve(function.module, function.facts, ref)
            )
        if kind in "IE":
            return (place,)
        if kind == "K":
            return self._references.returns(place.key)
        return ()

    def _path_values(self, place: Place) -> Places:
        if place.kind == "E":
            return (place,)
        path = place.path
        if path.endswith("[]"):
            return tuple(
                v for member in self._passing.members(place) for v in (self.made_from(member) or (member,))
            )
        cut = path.rindex(".")
        base, name = place._replace(path=path[:cut]), path[cut + 1 :]
        found: list[Place] = []
        for klass in self.classes(base):
            for owner, facts in self.program.mro(klass.owner, klass.name):
                for qual, ref, _ in facts.assigned.get(name, ()):
                    fn = owner.functions.get(qual)
                    if fn is not None:
                        if ref[0] == "p":
                            for target in self.constructor_argument(base, owner, fn, ref):
                                found.extend(self.made_from(target) or (target,))
                        for target in self._references.resolve(owner, fn, ref):
                            found.extend(self.made_from(target) if target.kind == "P" else (target,))
                annotation = facts.declared.get(name)
                if annotation:
                    found.extend(self.annotated(owner, annotation))
        return tuple(found)

    def _keeps_instance(self, module: str, facts: ClassFacts, name: str) -> bool:
        """Whether ``__new__`` returns this attribute of the class: it holds the only instance."""
        new = facts.methods.get("__new__")
        if new is None:
            return False
        fn = self.program.modules[module].functions[new]
        return bool(fn.params) and f"p:{fn.params[0]}.{name}" in fn.returns

    def constructor_argument(self, place: Place, owner: ModuleFacts, init: FunctionFacts, ref: str) -> Places:
        """What ``self.x = x`` of a constructor means for the object at ``place``.

        A module-level object tells its arguments; any other may have been made with a mutable default.
        """
        name = ref[2:]
        if init.name != "__init__" or "." in name or "[" in name:
            return ()
        found: list[Place] = []
        made_with_argument = False
        if place.kind == "P":  # ``self`` may be any instance: the arguments tell its types, not its identity
            for row in self._flow.calls_of(f"{owner.name}:{init.owner}"):
                callee = Place("B", owner.name, init.qual)
                given = self._passing.argument(row.module, row.fn, callee, init, row.call, name)
                found.extend(p for p in given if p.kind == "I" and not p.path)
        elif place.kind == "I" and not place.path and place.receiver is not None:
            site = self.program.functions[place.receiver.owner]
            call = site.facts.calls[int(place.receiver.name)]
            callee = Place("B", owner.name, init.qual)
            made_with_argument = self._passing.passes(callee, init, call, name) is not None
            given = self._passing.argument(site.module, site.facts, callee, init, call, name)
            found.extend(p for p in given if p.kind in "VAMFCLIH")
        for module, scope, binding in self._flow.sources(place):
            for made in binding.refs:
                if made[-1] != ")":
                    continue
                call = scope.calls[int(made[made.rindex("(") + 1 : -1])]
                for target in self._references.resolve(module, scope, made[: made.rindex("(")]):
                    if target.kind != "C":
                        continue
                    callee = Place("B", owner.name, init.qual)
                    given = self._passing.argument(module, scope, callee, init, call, name)
                    made_with_argument = made_with_argument or bool(given)
                    found.extend(p for p in given if p.kind in "VAMFCLIH")
        default = init.defaults.get(name)
        if default is not None and default.kind and not made_with_argument:
            found.append(Place("P", f"{owner.name}:{init.qual}", name))
        return tuple(found)

    def _binding_values(
        self, module: ModuleFacts, body: FunctionFacts, rows: list[Binding] | tuple[Binding, ...]
    ) -> Places:
        found: list[Place] = []
        for binding in rows:
            for ref in binding.refs:
                found.extend(self._references.resolve(module, body, ref))
            if binding.annotation and not any(p.kind in "IE" for p in found):
                found.extend(self.annotated(module, binding.annotation))
        return tuple(dict.fromkeys(found))

    def annotated(self, module: ModuleFacts, annotation: str) -> Places:
        """Instances of the classes of the program that an annotation names."""
        annotation = annotation.removeprefix(CLASS_VARIABLE)
        return tuple(
            Place("I", p.owner, p.name)
            for p in self.program.static(module.name, "g:" + annotation)
            if p.kind == "C"
        )

    def outside(self, place: Place) -> list[str]:
        """The dotted names of the outside callables that made the object at ``place``."""
        return [v.owner for v in self.made_from(place) if v.kind == "E" and v.path == "()"]

    def kind(self, place: Place) -> str:
        """The container kind of the object at ``place``, or an empty string when it is none or unknown."""
        path = place.path
        program = self.program
        if not path:
            for _, _, binding in self._flow.sources(place):
                if binding.kind:
                    return binding.kind
                annotated = ANNOTATION_KINDS.get(binding.annotation.rpartition(".")[2], "")
                if annotated:
                    return annotated
            if place.kind == "L":
                return container_kind(
                    tuple(program.functions[place.owner].facts.captured.get(place.name, ()))
                )
            if place.kind == "P":
                fn = program.functions[place.owner].facts
                default = fn.defaults.get(place.name)
                if default is not None and default.kind:
                    return default.kind
                return ANNOTATION_KINDS.get(fn.annotations.get(place.name, "").rpartition(".")[2], "")
            return ""
        if path.endswith("[]"):
            return ""
        cut = path.rindex(".")
        base, name = place._replace(path=path[:cut]), path[cut + 1 :]
        if name == "__dict__":
            return "dict"
        for klass in self.classes(base):
            for _, facts in program.mro(klass.owner, klass.name):
                found = attribute_kind(facts, name)
                if found:
                    return found
        return ""


def attribute_kind(facts: ClassFacts, name: str) -> str:
    """The container kind of an instance attribute as one class declares or assigns it."""
    refs = tuple(ref for _, ref, _ in facts.assigned.get(name, ()))
    kind = container_kind(refs)
    if kind:
        return kind
    kind = ANNOTATION_KINDS.get(facts.declared.get(name, "").rpartition(".")[2], "")
    if kind:
        return kind
    for binding in facts.attrs.get(name, ()):
        kind = binding.kind or ANNOTATION_KINDS.get(binding.annotation.rpartition(".")[2], "")
        if kind:
            return kind
    return ""
