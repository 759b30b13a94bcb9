"""All modules of a program together: what a name means across imports, aliases and re-exports."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from stateguard.audit.facts import MODULE_BODY, ClassFacts, FunctionFacts, ModuleFacts

_BUILTINS = frozenset(dir(builtins))


class Place(NamedTuple):
    """Something the program refers to.

    ==== ============================================== ======================= ==================
    kind meaning                                        owner                   name
    ==== ============================================== ======================= ==================
    V    a module-level variable                        module                  variable
    A    a class attribute                              ``module:Class``        attribute
    C    a class                                        module                  qualified name
    F    a function                                     module                  qualified name
    B    a method bound to ``receiver``                 module                  qualified name
    M    a module of the program                        module
    E    something outside the program                  dotted name
    I    a new instance of a class of the program       module                  qualified name
    P    a parameter                                    ``module:function``     parameter
    S    ``super()`` in a method                        ``module:function``     parameter
    L    a local that a nested function uses            ``module:function``     local
    K    what a cached function returned                module                  qualified name
    X    the default of a ``ContextVar``                module                  variable
    H    a new container with known members             ``module:function``     number
    N    a call that makes an instance (a receiver)     ``module:function``     number
    ==== ============================================== ======================= ==================

    ``path`` is what is done to it: ``.memory[]``.
    """

    kind: str
    owner: str
    name: str = ""
    path: str = ""
    receiver: Place | None = None

    @property
    def key(self) -> str:
        """``module:function`` of functions, methods and classes."""
        return f"{self.owner}:{self.name}"


@dataclass(slots=True)
class Function:
    """A function with the module it is in."""

    module: ModuleFacts
    facts: FunctionFacts

    @property
    def key(self) -> str:
        """``module:qualified.name``."""
        return f"{self.module.name}:{self.facts.qual}"


class Program:
    """The linked modules."""

    def __init__(self, modules: Iterable[ModuleFacts]) -> None:
        self.modules: dict[str, ModuleFacts] = {}
        self.all_modules = list(modules)
        for module in self.all_modules:
            if not module.error or module.functions:
                self.modules.setdefault(module.name, module)
        self.functions: dict[str, Function] = {}
        for module in self.modules.values():
            for qual, facts in module.functions.items():
                self.functions[f"{module.name}:{qual}"] = Function(module, facts)
        self._names: dict[tuple[str, str], tuple[Place, ...]] = {}
        self._mro: dict[str, tuple[tuple[ModuleFacts, ClassFacts], ...]] = {}
        self._tails = self._suffix_index()

    def _suffix_index(self) -> dict[str, str]:
        """Modules by the end of their name, for imports written from another root directory."""
        found: dict[str, str] = {}
        for name in self.modules:
            tail = name
            while "." in tail:
                tail = tail.partition(".")[2]
                found[tail] = "" if tail in found else name
        return found

    def module_named(self, dotted: str, importer: str = "") -> str:
        """The program's module for a dotted name, or an empty string.

        ``import state`` of a script next to ``state.py`` finds it although the audit was started further up.
        """
        if dotted in self.modules:
            return dotted
        if importer:
            base = importer
            while base:
                base = base.rpartition(".")[0]
                candidate = f"{base}.{dotted}" if base else dotted
                if candidate in self.modules:
                    return candidate if candidate != importer else ""
        found = self._tails.get(dotted, "")
        return found if found != importer and "." in dotted else ""

    # -- names -----------------------------------------------------------------------------------

    def lookup(self, module: str, name: str) -> tuple[Place, ...]:
        """What ``name`` means at the top level of ``module``. Empty when the module does not say."""
        key = (module, name)
        known = self._names.get(key)
        if known is not None:
            return known
        self._names[key] = ()  # a cycle of imports ends here
        found = self._lookup(self.modules[module], name)
        self._names[key] = found
        return found

    def _lookup(self, module: ModuleFacts, name: str) -> tuple[Place, ...]:
        if name in module.bindings:
            return (Place("V", module.name, name),)
        if name in module.classes:
            return (Place("C", module.name, name),)
        if name in module.functions:
            return (Place("F", module.name, name),)
        if name in module.imports:
            found: list[Place] = []
            for dotted in module.imports[name]:
                found.extend(self.dotted(dotted, module.name))
            return tuple(dict.fromkeys(found))
        for source in module.stars:
            other = self.module_named(source, module.name)
            if other and other != module.name:
                places = self.lookup(other, name)
                if places:
                    return places
        submodule = f"{module.name}.{name}"
        if submodule in self.modules:
            return (Place("M", submodule),)
        return ()

    def dotted(self, dotted: str, importer: str = "") -> tuple[Place, ...]:
        """What an absolute dotted name refers to: a module, one of its names, or something outside."""
        head, rest = dotted, ""
        while head:
            module = self.module_named(head, importer)
            if module:
                places: tuple[Place, ...] = (Place("M", module),)
                for part in rest.split(".") if rest else ():
                    places = tuple(p for place in places for p in self.member(place, part))
                if places or not rest:
                    return places
                break
            head, _, last = head.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
        return (Place("E", dotted),)

    def member(self, place: Place, name: str) -> tuple[Place, ...]:
        """A name inside a module or a class, without following values."""
        if place.kind == "M":
            return self.lookup(place.owner, name)
        if place.kind == "C":
            nested = f"{place.name}.{name}"
            module = self.modules[place.owner]
            if nested in module.classes:
                return (Place("C", place.owner, nested),)
            return (Place("A", place.key, name),)
        return ()

    def is_builtin(self, name: str) -> bool:
        """Whether a name that no module binds is a builtin."""
        return name in _BUILTINS

    # -- classes -----------------------------------------------------------------------------------

    def class_facts(self, place: Place) -> ClassFacts:
        """The facts of a ``C`` or ``I`` place."""
        return self.modules[place.owner].classes[place.name]

    def mro(self, module: str, qual: str) -> tuple[tuple[ModuleFacts, ClassFacts], ...]:
        """The class and its bases that are part of the program, nearest first."""
        key = f"{module}:{qual}"
        known = self._mro.get(key)
        if known is not None:
            return known
        self._mro[key] = ()
        facts = self.modules[module].classes.get(qual)
        if facts is None:
            return ()
        found: dict[str, tuple[ModuleFacts, ClassFacts]] = {key: (self.modules[module], facts)}
        for base in self.bases(module, facts):
            if base.kind == "C":
                for entry in self.mro(base.owner, base.name):
                    found.setdefault(f"{entry[0].name}:{entry[1].qual}", entry)
        self._mro[key] = tuple(found.values())
        return self._mro[key]

    def bases(self, module: str, facts: ClassFacts) -> tuple[Place, ...]:
        """The direct bases: classes of the program (``C``) and outside names (``E``)."""
        found: list[Place] = []
        for ref in facts.bases:
            found.extend(self.static(module, ref))
        return tuple(found)

    def static(self, module: str, ref: str) -> tuple[Place, ...]:
        """What a reference made only of names and attributes means, without following any value."""
        root, rest = ref[:2], ref[2:]
        while rest.endswith("[]"):  # Generic[T]
            rest = rest[:-2]
        if "(" in rest or "[" in rest:
            return ()
        if root == "d:":
            if rest in self.modules[module].classes:
                return (Place("C", module, rest),)
            return (Place("F", module, rest),) if rest in self.modules[module].functions else ()
        if root == "m:":
            return self.dotted(rest, module)
        if root != "g:":
            return ()
        name, *attributes = rest.split(".")
        places = self.lookup(module, name)
        if not places:
            return (Place("E", "builtins." + rest),) if self.is_builtin(name) else ()
        for part in attributes:
            places = tuple(
                p
                for place in places
                for p in (
                    (Place("E", f"{place.owner}.{part}"),) if place.kind == "E" else self.member(place, part)
                )
            )
        return places

    def external_bases(self, module: str, qual: str) -> set[str]:
        """The dotted names of every base outside the program, through the whole hierarchy."""
        found: set[str] = set()
        for owner, facts in self.mro(module, qual):
            for base in self.bases(owner.name, facts):
                if base.kind == "E":
                    found.add(base.owner)
            found.update(ref[2:] for ref in facts.bases if not self.static(owner.name, ref))
        return found

    def find_method(self, module: str, qual: str, name: str, skip_first: bool = False) -> Place | None:
        """The method ``name`` as an instance of the class finds it."""
        for owner, facts in self.mro(module, qual)[1 if skip_first else 0 :]:
            if name in facts.methods:
                return Place("F", owner.name, facts.methods[name])
        return None

    def bodies(self) -> Iterator[Function]:
        """The import-time code of every module."""
        for module in self.modules.values():
            body = module.functions.get(MODULE_BODY)
            if body is not None:
                yield Function(module, body)
