"""From a reference in a function to the objects it may stand for: aliases, attributes, calls and returns."""

from __future__ import annotations

import re

from stateguard.audit.facts import MODULE_BODY, Binding, Call, ClassFacts, FunctionFacts, ModuleFacts
from stateguard.audit.program import Place, Program
from stateguard.audit.walk.names import ANNOTATION_KINDS, container_kind

MAX_PATH = 8
"""Steps from a root that are still told apart."""
MAX_PLACES = 12
MAX_DEPTH = 60
"""Answers that wait for other answers. Longer chains of aliases end as not known."""

_STEP = re.compile(r"\.[^.\[(~+#!]+|!?\[\]|\(\d+\)|[~+#]")
_ITEM_METHODS = (".get", ".setdefault", ".__getitem__")
_CACHES = frozenset({"lru_cache", "cache", "alru_cache", "cached", "memoize", "ttl_cache", "cached_property"})
_ALIASES = frozenset("VACFMBL")

Places = tuple[Place, ...]


class Resolver:
    """Answers what a reference means, and remembers every answer."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._known: dict[tuple[str, str], Places] = {}
        self._variables: dict[tuple[str, str], Places] = {}
        self._classes: dict[Place, Places] = {}
        self._returns: dict[str, Places] = {}
        self._values: dict[Place, Places] = {}
        self._made: dict[tuple[str, str], list[tuple[ModuleFacts, FunctionFacts, Call]]] | None = None
        self._depth = 0

    # -- references --------------------------------------------------------------------------------

    def resolve(self, module: ModuleFacts, fn: FunctionFacts, ref: str) -> Places:
        """The places that ``ref``, written in ``fn``, may stand for. Empty when it is not known or new."""
        if ref[0] in "nk?":
            return ()
        # Names of the module mean the same in all of its functions; the rest belongs to one function.
        scope = module.name if ref[0] in "gd" and "(" not in ref else f"{module.name}:{fn.qual}"
        key = (scope, ref)
        known = self._known.get(key)
        if known is not None:
            return known
        if self._depth >= MAX_DEPTH:
            return ()
        self._known[key] = ()
        self._depth += 1
        try:
            found = self._resolve(module, fn, ref)
        finally:
            self._depth -= 1
        if len(found) > 1:
            found = tuple(dict.fromkeys(found))[:MAX_PLACES]
        self._known[key] = found
        return found

    def _resolve(self, module: ModuleFacts, fn: FunctionFacts, ref: str) -> Places:
        last = ref[-1]
        if last == ")":
            cut = ref.rindex("(")
            places = self.resolve(module, fn, ref[:cut])
            call = fn.calls[int(ref[cut + 1 : -1])]
            return tuple(p for place in places for p in self.call(module, fn, place, call))
        if last == "]":
            step = "![]" if ref[-3] == "!" else "[]"
            base = ref[: -len(step)]
            return tuple(p for place in self.resolve(module, fn, base) for p in self.item(place, step))
        if last in "~+#":
            return ()
        root = ref[0]
        if root == "d":
            name = ref[2:]
            if name in module.classes:
                return (Place("C", module.name, name),)
            if name in module.functions:
                return (Place("F", module.name, name),)
        start = ref.index(":", 2) if root == "f" else 2
        cut = ref.rfind(".", start)
        if cut > 0:
            name = ref[cut + 1 :]
            return tuple(
                p for place in self.resolve(module, fn, ref[:cut]) for p in self.attribute(place, name)
            )
        if root == "g":
            return self.variable(module.name, ref[2:])
        if root == "m":
            return self._follow(self.program.dotted(ref[2:], module.name))
        if root == "p":
            return self._parameter(module, fn, ref[2:])
        if root == "f":
            return self._enclosing(module, ref)
        return ()

    def _parameter(self, module: ModuleFacts, fn: FunctionFacts, name: str) -> Places:
        default = fn.defaults.get(name)
        if default is not None and default.depends:
            # FastAPI resolves the parameter by calling the dependency.
            body = module.functions[fn.defined_in]
            found = tuple(
                p
                for place in self.resolve(module, body, default.depends)
                for p in self.call(module, body, place, Call(default.depends, (), {}, 0, 0, "", "", ""))
            )
            if found:
                return found
        if fn.is_classmethod and name == fn.self_name:
            return (Place("C", module.name, fn.owner),)
        return (Place("P", f"{module.name}:{fn.qual}", name),)

    def _enclosing(self, module: ModuleFacts, ref: str) -> Places:
        qual, _, name = ref[2:].partition(":")
        outer = module.functions.get(qual)
        if outer is None:
            return ()
        found: list[Place] = []
        for value in outer.captured.get(name, ()):
            for place in self.resolve(module, outer, value):
                if place.kind in _ALIASES or (place.kind == "E" and not place.path):
                    found.append(place)
        return tuple(found) or (Place("L", f"{module.name}:{qual}", name),)

    def variable(self, module: str, name: str) -> Places:
        """A module-level name, with variables that are only another name for something followed."""
        places = self.program.lookup(module, name)
        if not places:
            return (Place("E", "builtins." + name),) if self.program.is_builtin(name) else ()
        return self._follow(places)

    def _follow(self, places: Places) -> Places:
        found: list[Place] = []
        for place in places:
            if place.kind == "V" and not place.path:
                found.extend(self._aliased(place))
            elif place.kind == "A" and not place.path:
                found.append(place)
            else:
                found.append(place)
        return tuple(found)

    def _aliased(self, place: Place) -> Places:
        key = (place.owner, place.name)
        known = self._variables.get(key)
        if known is not None:
            return known
        self._variables[key] = (place,)
        module = self.program.modules[place.owner]
        body = module.functions[MODULE_BODY]
        found: list[Place] = []
        own = False
        for binding in module.bindings[place.name]:
            for ref in binding.refs:
                aliases = [p for p in self.resolve(module, body, ref) if p.kind in _ALIASES and p != place]
                found.extend(aliases)
                own = own or not aliases
        if own or not found:
            found.insert(0, place)
        self._variables[key] = tuple(dict.fromkeys(found))
        return self._variables[key]

    # -- steps -------------------------------------------------------------------------------------

    def walk(self, place: Place, path: str) -> Places:
        """Apply a path to a place, one step at a time."""
        places: Places = (place,)
        for step in _STEP.findall(path):
            if step[-1] == "]":
                places = tuple(p for one in places for p in self.item(one, step))
            elif step[0] == ".":
                places = tuple(p for one in places for p in self.attribute(one, step[1:]))
            elif step[0] != "(":
                return ()
        return places

    def extended(self, place: Place, step: str) -> Places:
        """The place with one more step in its path."""
        path = place.path
        if len(path) > 24 and len(_STEP.findall(path)) >= MAX_PATH:
            return ()
        return (place._replace(path=path + step),)

    def item(self, place: Place, step: str = "[]") -> Places:
        """A member of a container."""
        if place.kind in "MFCBS":
            return ()
        return self.extended(place, step)

    def attribute(self, place: Place, name: str) -> Places:
        """An attribute, found through modules, classes and what ``__init__`` assigned."""
        kind = place.kind
        if kind == "E":
            if not place.path:
                return (Place("E", f"{place.owner}.{name}"),)
            return self.extended(place, "." + name)
        if kind == "M":
            found = self._follow(self.program.member(place, name))
            return found or (Place("V", place.owner, name),)
        if kind == "C":
            return self._class_attribute(place, name)
        if kind in "FB":
            if name == "__wrapped__" or name.startswith("cache_"):
                return ()
            return self.extended(place._replace(kind="F", receiver=None), "." + name)
        if name == "__class__":
            return self.classes(place)
        if kind == "S":
            return self._super_attribute(place, name)
        if name == "__super__":
            return (place._replace(kind="S"),) if kind == "P" else ()
        classes = self.classes(place)
        if not classes:
            return self.extended(place, "." + name)
        found_places: list[Place] = []
        for one in classes:
            found_places.extend(self._instance_attribute(place, one, name))
        return tuple(dict.fromkeys(found_places))

    def _class_attribute(self, place: Place, name: str) -> Places:
        nested = f"{place.name}.{name}"
        if nested in self.program.modules[place.owner].classes:
            return (Place("C", place.owner, nested),)
        for owner, facts in self.program.mro(place.owner, place.name):
            if name in facts.methods:
                method = Place("F", owner.name, facts.methods[name])
                fn = owner.functions[method.name]
                return (method._replace(kind="B", receiver=place),) if fn.is_classmethod else (method,)
            if name in facts.attrs or name in facts.declared:
                return (Place("A", f"{owner.name}:{facts.qual}", name),)
        return (Place("A", place.key, name),)

    def _super_attribute(self, place: Place, name: str) -> Places:
        module = place.owner.partition(":")[0]
        fn = self.program.functions[place.owner].facts
        if not fn.owner:
            return ()
        method = self.program.find_method(module, fn.owner, name, skip_first=True)
        return (method._replace(kind="B", receiver=place._replace(kind="P")),) if method else ()

    def _instance_attribute(self, place: Place, klass: Place, name: str) -> Places:
        found: list[Place] = []
        assigned = False
        for owner, facts in self.program.mro(klass.owner, klass.name):
            if name in facts.assigned:
                assigned = True
                for qual, ref, _ in facts.assigned[name]:
                    fn = owner.functions.get(qual)
                    if fn is not None and ref[0] == "p":
                        found.extend(self._constructor_argument(place, owner, fn, ref))
                    if fn is None or ref[0] not in "gfdm":
                        continue
                    aliases = self.resolve(owner, fn, ref)
                    found.extend(p for p in aliases if p.kind in "VAMFCL" and p != place)
            if name in facts.methods and not assigned:
                method = owner.functions[facts.methods[name]]
                if is_property(method):
                    bound = Place("B", owner.name, method.qual, "", place)
                    call = Call("", (), {}, 0, 0, "", "", "")
                    return self.call(owner, method, bound, call) or self.extended(place, "." + name)
                return (Place("B", owner.name, method.qual, "", place),)
            if name in facts.attrs and not assigned:
                annotated = any(b.annotation for b in facts.attrs[name])
                if copies_class_attributes(self.program, klass, annotated):
                    break
                return (Place("A", f"{owner.name}:{facts.qual}", name),)
        own = self.extended(place, "." + name)
        return (*own, *found) if found else own

    # -- calls -------------------------------------------------------------------------------------

    def call(self, module: ModuleFacts, fn: FunctionFacts, place: Place, call: Call) -> Places:
        """What calling ``place`` gives back."""
        kind = place.kind
        if kind == "C":
            return (Place("I", place.owner, place.name),)
        if kind in "FB" and not place.path:
            return self._returned(module, fn, place, call)
        if kind == "E":
            if place.path.endswith(_ITEM_METHODS) and not place.path.startswith("()"):
                return self.extended(place._replace(path=place.path[: place.path.rindex(".")]), "[]")
            return (place._replace(path=place.path + "()"),) if not place.path.endswith("()") else ()
        path = place.path
        if path.endswith(_ITEM_METHODS):
            base = place._replace(path=path[: path.rindex(".")])
            outside = self.outside(base)
            if any(o.startswith(("contextvars.ContextVar", "ContextVar")) for o in outside):
                return (Place("X", place.owner, place.name),)
            if outside and not self.kind(base):
                return ()
            return self.item(base, "![]" if call.args and call.args[0] == ("k:str",) else "[]")
        if path.endswith("[]"):
            return tuple(p for target in self.members(place) for p in self.call(module, fn, target, call))
        found: list[Place] = []
        for klass in self.classes(place):
            method = self.program.find_method(klass.owner, klass.name, "__call__")
            if method is not None:
                bound = method._replace(kind="B", receiver=place)
                found.extend(self._returned(module, fn, bound, call))
        return tuple(found)

    def _returned(self, module: ModuleFacts, fn: FunctionFacts, place: Place, call: Call) -> Places:
        if self._depth >= MAX_DEPTH:
            return ()
        self._depth += 1
        try:
            return self._return_places(module, fn, place, call)
        finally:
            self._depth -= 1

    def _return_places(self, module: ModuleFacts, fn: FunctionFacts, place: Place, call: Call) -> Places:
        target = self.program.functions.get(place.key)
        if target is None:
            return ()
        summary = self.returns(place.key)
        found: list[Place] = []
        for one in summary:
            if one.kind == "P" and one.owner == place.key:
                found.extend(
                    p
                    for given in self.argument(module, fn, place, target.facts, call, one.name)
                    for p in self.walk(given, one.path)
                )
            else:
                found.append(one)
        if is_cached(target.facts):
            # Every caller gets the same object; other places it also has are more telling.
            kept = [p for p in found if p.kind in "VAL"]
            return tuple(kept) or (Place("K", place.owner, place.name),)
        return tuple(found)

    def returns(self, key: str) -> Places:
        """What a function returns, in its own terms."""
        known = self._returns.get(key)
        if known is not None:
            return known
        self._returns[key] = ()
        function = self.program.functions[key]
        found: list[Place] = []
        for ref in function.facts.returns:
            found.extend(self.resolve(function.module, function.facts, ref))
        annotation = function.facts.returns_annotation
        if not found and annotation and not function.facts.returns:
            found.extend(self._annotated(function.module, annotation))
        self._returns[key] = tuple(dict.fromkeys(found))[:MAX_PLACES]
        return self._returns[key]

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
        params = target.params
        offset = 0
        if target.self_name and (callee.kind == "B" or target.name == "__init__"):
            if params and param == params[0]:
                return (callee.receiver,) if callee.receiver is not None else ()
            offset = 1
        refs = call.kwargs.get(param)
        if refs is None and param in params:
            index = params.index(param) - offset
            if 0 <= index < len(call.args):
                refs = call.args[index]
        if refs is None:
            return ()
        return tuple(p for ref in refs for p in self.resolve(module, fn, ref))

    # -- types -------------------------------------------------------------------------------------

    def classes(self, place: Place) -> Places:
        """The classes of the program that an object at ``place`` may be an instance of."""
        if place.kind == "I" and not place.path:
            return (Place("C", place.owner, place.name),)
        known = self._classes.get(place)
        if known is not None:
            return known
        self._classes[place] = ()
        found: list[Place] = []
        for value in self.values(place):
            if value.kind == "I" and not value.path:
                found.append(Place("C", value.owner, value.name))
        self._classes[place] = tuple(dict.fromkeys(found))
        return self._classes[place]

    def values(self, place: Place) -> Places:
        """What the object at ``place`` was made from: ``I`` for instances, ``E`` for outside calls."""
        known = self._values.get(place)
        if known is None:
            if self._depth >= MAX_DEPTH:
                return ()
            self._values[place] = ()
            self._depth += 1
            try:
                known = tuple(dict.fromkeys(self._find_values(place)))[:MAX_PLACES]
            finally:
                self._depth -= 1
            self._values[place] = known
        return known

    def _find_values(self, place: Place) -> Places:
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
            return self._binding_values(program.modules[owner], body, facts.attrs.get(place.name, ()))
        if kind in "PS":
            function = program.functions[place.owner]
            fn = function.facts
            if place.name == fn.self_name:
                return (Place("I", function.module.name, fn.owner),)
            annotation = fn.annotations.get(place.name)
            return self._annotated(function.module, annotation) if annotation else ()
        if kind == "L":
            function = program.functions[place.owner]
            return tuple(
                p
                for ref in function.facts.captured.get(place.name, ())
                for p in self.resolve(function.module, function.facts, ref)
            )
        if kind in "IE":
            return (place,)
        if kind == "K":
            return self.returns(place.key)
        return ()

    def _path_values(self, place: Place) -> Places:
        if place.kind == "E":
            return (place,)
        path = place.path
        if path.endswith("[]"):
            return tuple(v for member in self.members(place) for v in (self.values(member) or (member,)))
        cut = path.rindex(".")
        base, name = place._replace(path=path[:cut]), path[cut + 1 :]
        found: list[Place] = []
        for klass in self.classes(base):
            for owner, facts in self.program.mro(klass.owner, klass.name):
                for qual, ref, _ in facts.assigned.get(name, ()):
                    fn = owner.functions.get(qual)
                    if fn is not None:
                        if ref[0] == "p":
                            for target in self._constructor_argument(base, owner, fn, ref):
                                found.extend(self.values(target) or (target,))
                        for target in self.resolve(owner, fn, ref):
                            found.extend(self.values(target) if target.kind == "P" else (target,))
                annotation = facts.declared.get(name)
                if annotation:
                    found.extend(self._annotated(owner, annotation))
        return tuple(found)

    def _constructions(self, owner: str, qual: str) -> list[tuple[ModuleFacts, FunctionFacts, Call]]:
        """The calls of the program that make an instance of a class."""
        if self._made is None:
            self._made = {}
            names = {q.rpartition(".")[2] for m in self.program.modules.values() for q in m.classes}
            for function in self.program.functions.values():
                for call in function.facts.calls:
                    last = call.callee.replace(":", ".").rpartition(".")[2]
                    if last not in names:
                        continue
                    for place in self.program.static(function.module.name, call.callee):
                        if place.kind == "C":
                            rows = self._made.setdefault((place.owner, place.name), [])
                            if len(rows) < MAX_PLACES:
                                rows.append((function.module, function.facts, call))
        return self._made.get((owner, qual), [])

    def _constructor_argument(
        self, place: Place, owner: ModuleFacts, init: FunctionFacts, ref: str
    ) -> Places:
        """What ``self.x = x`` of a constructor means for the object at ``place``.

        A module-level object tells its arguments; any other may have been made with a mutable default.
        """
        name = ref[2:]
        if init.name != "__init__" or "." in name or "[" in name:
            return ()
        found: list[Place] = []
        made_with_argument = False
        if place.kind == "P":  # ``self`` may be any instance: the arguments tell its types, not its identity
            for module, scope, call in self._constructions(owner.name, init.owner):
                callee = Place("B", owner.name, init.qual)
                given = self.argument(module, scope, callee, init, call, name)
                found.extend(p for p in given if p.kind == "I" and not p.path)
        for module, scope, binding in self._sources(place):
            for made in binding.refs:
                if made[-1] != ")":
                    continue
                call = scope.calls[int(made[made.rindex("(") + 1 : -1])]
                for target in self.resolve(module, scope, made[: made.rindex("(")]):
                    if target.kind != "C":
                        continue
                    callee = Place("B", owner.name, init.qual)
                    given = self.argument(module, scope, callee, init, call, name)
                    made_with_argument = made_with_argument or bool(given)
                    found.extend(p for p in given if p.kind in "VAMFCLI")
        default = init.defaults.get(name)
        if default is not None and default.kind and not made_with_argument:
            found.append(Place("P", f"{owner.name}:{init.qual}", name))
        return tuple(found)

    def members(self, place: Place) -> Places:
        """What the containers written at ``place`` (a path ending in ``[]``) were filled with."""
        base = place._replace(path=place.path[: place.path.index("[]")].removesuffix("!"))
        found: list[Place] = []
        for module, fn, binding in self._sources(base):
            for ref in binding.elements:
                found.extend(self.resolve(module, fn, ref))
        return tuple(found)

    def _sources(self, place: Place) -> list[tuple[ModuleFacts, FunctionFacts, Binding]]:
        program = self.program
        if place.path:
            return []
        if place.kind == "V" and place.owner in program.modules:
            module = program.modules[place.owner]
            return [(module, module.functions[MODULE_BODY], b) for b in module.bindings.get(place.name, ())]
        if place.kind == "A":
            owner, _, qual = place.owner.partition(":")
            module = program.modules[owner]
            facts = module.classes.get(qual)
            rows = facts.attrs.get(place.name, ()) if facts else ()
            scope = module.functions[facts.parent if facts else MODULE_BODY]
            return [(module, scope, b) for b in rows]
        return []

    def _binding_values(
        self, module: ModuleFacts, body: FunctionFacts, rows: list[Binding] | tuple[Binding, ...]
    ) -> Places:
        found: list[Place] = []
        for binding in rows:
            for ref in binding.refs:
                found.extend(self.resolve(module, body, ref))
            if binding.annotation and not any(p.kind in "IE" for p in found):
                found.extend(self._annotated(module, binding.annotation))
        return tuple(dict.fromkeys(found))

    def _annotated(self, module: ModuleFacts, annotation: str) -> Places:
        return tuple(
            Place("I", p.owner, p.name)
            for p in self.program.static(module.name, "g:" + annotation)
            if p.kind == "C"
        )

    def outside(self, place: Place) -> list[str]:
        """The dotted names of the outside callables that made the object at ``place``."""
        return [v.owner for v in self.values(place) if v.kind == "E" and v.path == "()"]

    def kind(self, place: Place) -> str:
        """The container kind of the object at ``place``, or an empty string when it is none or unknown."""
        path = place.path
        program = self.program
        if not path:
            for _, _, binding in self._sources(place):
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


def is_property(fn: FunctionFacts) -> bool:
    """Whether reading the attribute calls the function."""
    return any(
        d.ref.rpartition(".")[2].rpartition(":")[2] in ("property", "cached_property") for d in fn.decorators
    )


def is_cached(fn: FunctionFacts) -> bool:
    """Whether the function is decorated with a cache that hands the same object to every caller."""
    return any(
        d.ref.replace(":", ".").rpartition(".")[2] in _CACHES - {"cached_property"} for d in fn.decorators
    )


_COPYING_BASES = frozenset(
    {
        "BaseModel", "BaseSettings", "SQLModel", "Schema", "Struct", "Enum", "NamedTuple", "TypedDict",
        "Form", "ModelForm", "Flag", "StrEnum", "IntEnum", "RootModel",
    }
)  # fmt: skip


def copies_class_attributes(program: Program, klass: Place, annotated: bool) -> bool:
    """Whether the attributes of the class body are templates for each instance (pydantic, dataclasses...)."""
    for base in program.external_bases(klass.owner, klass.name):
        if base.rpartition(".")[2] in _COPYING_BASES:
            return True
    if not annotated:
        return False  # a dataclass takes only annotated names as fields
    for _, facts in program.mro(klass.owner, klass.name):
        for decorator in facts.decorators:
            if decorator.ref.replace(":", ".").rpartition(".")[2] in (
                "dataclass",
                "define",
                "attrs",
                "frozen",
                "s",
            ):
                return True
    return False
