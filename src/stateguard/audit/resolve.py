"""From a reference in a function to the objects it may stand for: aliases, attributes, calls and returns."""

from __future__ import annotations

import re

from stateguard.audit.decorated import copies_class_attributes, is_cached, is_property
from stateguard.audit.facts import MODULE_BODY, Call, FunctionFacts, ModuleFacts
from stateguard.audit.flow import Flow
from stateguard.audit.passing import Passing
from stateguard.audit.places import MAX_PLACES, Depth, Places
from stateguard.audit.program import Place, Program
from stateguard.audit.values import Values
from stateguard.audit.walk.names import CLASS_VARIABLE

MAX_PATH = 8
"""Steps from a root that are still told apart."""
_STEP = re.compile(r"\.[^.\[(~+#!]+|!?\[\]|\(\d+\)|[~+#]")
_ITEM_METHODS = (".get", ".setdefault", ".__getitem__")
_PARTIAL = frozenset({"functools.partial", "functools.partialmethod"})
_ALIASES = frozenset("VACFMBL")


class Resolver:
    """Answers what a reference means, and remembers every answer.

    :attr:`values` knows what the objects are that a reference leads to, :attr:`passing` what calls and
    containers are given, and :attr:`flow` where each is written.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.flow = Flow(program)
        self._depth = Depth()
        self.passing = Passing(program, self.flow, self)
        self.values = Values(program, self.flow, self, self.passing, self._depth)
        self._known: dict[tuple[str, str], Places] = {}
        self._variables: dict[tuple[str, str], Places] = {}
        self._returns: dict[str, Places] = {}

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
        if self._depth.exhausted:
            return ()
        self._known[key] = ()
        self._depth.waiting += 1
        try:
            found = self._resolve(module, fn, ref)
        finally:
            self._depth.waiting -= 1
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
            found = tuple(p for place in places for p in self.call(module, fn, place, call))
            if call.args or call.kwargs:  # which call made it: its arguments may be somebody else's
                site = Place("N", f"{module.name}:{fn.qual}", ref[cut + 1 : -1])
                direct = {(p.owner, p.name) for p in places if p.kind == "C"}
                found = tuple(
                    p._replace(receiver=site) if p.kind == "I" and (p.owner, p.name) in direct else p
                    for p in found
                )
            return found
        if last == "]":
            step = "![]" if ref[-3] == "!" else "[]"
            base = ref[: -len(step)]
            return tuple(p for place in self.resolve(module, fn, base) for p in self.item(place, step))
        if last in "~+#":
            return ()
        root = ref[0]
        if root == "h":
            return (Place("H", f"{module.name}:{fn.qual}", ref[2:]),) if ref[2:].isdigit() else ()
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
                elif place.kind == "P" and not place.path and place.owner == f"{module.name}:{qual}":
                    found.extend(p for p in self.passing.given(place) if p.kind in _ALIASES or p.kind == "I")
        return tuple(dict.fromkeys(found)) or (Place("L", f"{module.name}:{qual}", name),)

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
        if place.kind == "H":
            return self.passing.held(place) if not place.path else ()
        own = self.extended(place, step)
        if place.kind == "V" and not place.path:
            own += tuple(p for p in self.passing.stored(place) if p.kind in "VAH" and p != place)
        return own

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
        if kind == "H":
            return ()
        if kind in "FB":
            if name == "__wrapped__" or name.startswith("cache_"):
                return ()
            return self.extended(place._replace(kind="F", receiver=None), "." + name)
        if name == "__class__":
            return self.values.classes(place)
        if kind == "S":
            return self._super_attribute(place, name)
        if name == "__super__":
            return (place._replace(kind="S"),) if kind == "P" else ()
        classes = self.values.classes(place)
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
                        found.extend(self.values.constructor_argument(place, owner, fn, ref))
                    if fn is None or ref[0] not in "gfdmh":
                        continue
                    aliases = self.resolve(owner, fn, ref)
                    found.extend(p for p in aliases if p.kind in "VAMFCLH" and p != place)
            if name in facts.methods and not assigned:
                method = owner.functions[facts.methods[name]]
                if is_property(method):
                    bound = Place("B", owner.name, method.qual, "", place)
                    call = Call("", (), {}, 0, 0, "", "", "")
                    return self.call(owner, method, bound, call) or self.extended(place, "." + name)
                return (Place("B", owner.name, method.qual, "", place),)
            if name in facts.attrs and not assigned:
                rows = facts.attrs[name]
                annotated = any(b.annotation for b in rows)
                variable = any(b.annotation.startswith(CLASS_VARIABLE) for b in rows)
                if not variable and copies_class_attributes(self.program, klass, annotated):
                    break
                return (Place("A", f"{owner.name}:{facts.qual}", name),)
        own = self.extended(place, "." + name)
        return (*own, *found) if found else own

    # -- calls -------------------------------------------------------------------------------------

    def call(self, module: ModuleFacts, fn: FunctionFacts, place: Place, call: Call) -> Places:
        """What calling ``place`` gives back."""
        kind = place.kind
        if kind == "C":
            return self.passing.singleton(place) or (Place("I", place.owner, place.name),)
        if kind in "FB" and not place.path:
            return self._returned(module, fn, place, call)
        if kind == "H":
            return ()
        if kind == "E":
            if place.owner in _PARTIAL and not place.path:
                function = call.args[0] if call.args else ()
                return tuple(p for ref in function for p in self.resolve(module, fn, ref))
            if place.path.endswith(_ITEM_METHODS) and not place.path.startswith("()"):
                return self.extended(place._replace(path=place.path[: place.path.rindex(".")]), "[]")
            return (place._replace(path=place.path + "()"),) if not place.path.endswith("()") else ()
        path = place.path
        if path.endswith(_ITEM_METHODS):
            base = place._replace(path=path[: path.rindex(".")])
            outside = self.values.outside(base)
            if any(o.startswith(("contextvars.ContextVar", "ContextVar")) for o in outside):
                return (Place("X", place.owner, place.name),)
            if outside and not self.values.kind(base):
                return ()
            return self.item(base, "![]" if call.args and call.args[0] == ("k:str",) else "[]")
        if path.endswith("[]"):
            return tuple(
                p for target in self.passing.members(place) for p in self.call(module, fn, target, call)
            )
        found: list[Place] = []
        for klass in self.values.classes(place):
            method = self.program.find_method(klass.owner, klass.name, "__call__")
            if method is not None:
                bound = method._replace(kind="B", receiver=place)
                found.extend(self._returned(module, fn, bound, call))
        return tuple(found)

    def _returned(self, module: ModuleFacts, fn: FunctionFacts, place: Place, call: Call) -> Places:
        if self._depth.exhausted:
            return ()
        self._depth.waiting += 1
        try:
            return self._return_places(module, fn, place, call)
        finally:
            self._depth.waiting -= 1

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
                    for given in self.passing.argument(module, fn, place, target.facts, call, one.name)
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
            found.extend(self.values.annotated(function.module, annotation))
        self._returns[key] = tuple(dict.fromkeys(found))[:MAX_PLACES]
        return self._returns[key]
