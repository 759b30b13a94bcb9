"""Who calls whom: direct calls, methods of known classes, functions handed over as arguments."""

from __future__ import annotations

from typing import NamedTuple

from stateguard.audit.facts import MODULE_BODY, Call
from stateguard.audit.program import Function, Place, Program
from stateguard.audit.resolve import Resolver

MAX_BY_NAME = 3
"""A method called on an unknown object is linked by its name when at most this many classes define it."""

_COMMON_NAMES = frozenset(
    {
        "get", "set", "add", "pop", "append", "update", "items", "keys", "values", "copy", "close", "open",
        "read", "write", "send", "run", "start", "stop", "join", "split", "format", "encode", "decode",
        "execute", "commit", "remove", "clear", "insert", "extend", "index", "count", "sort", "filter", "all",
        "first", "delete", "save", "create", "exists", "strip", "replace", "lower", "upper", "match",
        "search",
        "setdefault", "discard", "flush", "load", "dump", "loads", "dumps", "json", "text", "name", "connect",
        "register", "wait", "result", "cancel", "call", "apply", "put", "head", "post", "patch", "options",
    }
)  # fmt: skip


class CallSite(NamedTuple):
    """A call that reaches a function of the program. ``target`` has kind ``F`` or ``B``.

    ``registered`` ones are methods of an object that is handed to a framework at import: only the object is
    known, not what the method will be called with.
    """

    caller: str
    call: int
    target: Place
    callee: str
    registered: bool = False


class CallGraph:
    """Call edges (the callee runs now) and escape edges (a function is handed over and may run later)."""

    def __init__(self, program: Program, resolver: Resolver) -> None:
        self.program = program
        self.resolver = resolver
        self.calls: dict[str, list[CallSite]] = {}
        self.callers: dict[str, list[CallSite]] = {}
        self.escapes: dict[str, set[str]] = {}
        self.by_name: dict[str, set[str]] = {}
        self._methods = self._methods_by_name()
        for function in program.functions.values():
            self._link(function)
        self._link_decorators()

    def _methods_by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for module in self.program.modules.values():
            for facts in module.classes.values():
                for name, qual in facts.methods.items():
                    if name not in _COMMON_NAMES and not name.startswith("__"):
                        found.setdefault(name, []).append(f"{module.name}:{qual}")
        return {name: keys for name, keys in found.items() if len(keys) <= MAX_BY_NAME}

    def _link(self, function: Function) -> None:
        caller = function.key
        module, facts = function.module, function.facts
        resolve = self.resolver.resolve
        sites = self.calls.setdefault(caller, [])
        for index, call in enumerate(facts.calls):
            known = outside = False
            if call.callee[0] != "?":
                # What is only bound here is a call for those who ask what it is given, not for who runs when.
                reached = [] if call.later else sites
                for place in resolve(module, facts, call.callee):
                    known = self._target(caller, index, place, reached) or known
                    if place.kind == "E":
                        known = outside = True
            if not known and "." in call.callee:
                keys = self._methods.get(call.callee.rpartition(".")[2])
                if keys:
                    self.by_name.setdefault(caller, set()).update(keys)
            if call.args or call.kwargs:
                self._escaping(caller, function, call)
                if facts.qual == MODULE_BODY and (outside or not known):
                    self._registered(caller, index, function, call)
        for ref in facts.returns:
            if ref[0] == "d":
                self._escape(caller, resolve(module, facts, ref))

    def _target(self, caller: str, index: int, place: Place, sites: list[CallSite]) -> bool:
        kind = place.kind
        if kind in "FB" and not place.path:
            if place.key in self.program.functions:
                self._add(sites, CallSite(caller, index, place, place.key))
            return True
        if kind == "C":
            for name in ("__init__", "__new__", "__post_init__"):
                method = self.program.find_method(place.owner, place.name, name)
                if method is not None:
                    new = Place("I", place.owner, place.name)
                    bound = method._replace(kind="B", receiver=new)
                    self._add(sites, CallSite(caller, index, bound, method.key))
            return True
        if kind in "VAPLI":
            found = False
            if place.path.endswith("[]"):
                for member in self.resolver.passing.members(place):
                    found = self._target(caller, index, member, sites) or found
                return found
            for klass in self.resolver.values.classes(place):
                method = self.program.find_method(klass.owner, klass.name, "__call__")
                if method is not None:
                    bound = method._replace(kind="B", receiver=place)
                    self._add(sites, CallSite(caller, index, bound, method.key))
                    found = True
            return found
        return False

    def _add(self, sites: list[CallSite], site: CallSite) -> None:
        sites.append(site)
        self.callers.setdefault(site.callee, []).append(site)

    def _escaping(self, caller: str, function: Function, call: Call) -> None:
        for refs in (*call.args, *call.kwargs.values()):
            for ref in refs:
                if ref[0] in "gdpfm" and ref[-1] != ")":
                    self._escape(caller, self.resolver.resolve(function.module, function.facts, ref))

    def _registered(self, caller: str, index: int, function: Function, call: Call) -> None:
        """``Route("/chat", Chat(HISTORY))``: the methods will run on this very object."""
        for refs in (*call.args, *call.kwargs.values()):
            for ref in refs:
                if ref[-1] != ")":
                    continue
                for place in self.resolver.resolve(function.module, function.facts, ref):
                    if place.kind != "I" or place.path or place.receiver is None:
                        continue
                    for module, one in self.program.mro(place.owner, place.name):
                        for qual in one.methods.values():
                            bound = Place("B", module.name, qual, "", place)
                            site = CallSite(caller, index, bound, bound.key, True)
                            self.callers.setdefault(bound.key, []).append(site)

    def _escape(self, caller: str, places: tuple[Place, ...]) -> None:
        for place in places:
            if place.kind in "FB" and not place.path:
                self.escapes.setdefault(caller, set()).add(place.key)
            elif place.kind == "C":
                method = self.program.find_method(place.owner, place.name, "__init__")
                if method is not None:
                    self.escapes.setdefault(caller, set()).add(method.key)

    def _link_decorators(self) -> None:
        """A decorator runs at import; the functions it returns run when the decorated function is called."""
        for function in list(self.program.functions.values()):
            module = function.module
            for decorator in function.facts.decorators:
                for place in self.program.static(module.name, decorator.ref):
                    if place.kind != "F":
                        continue
                    outer = f"{module.name}:{function.facts.parent or MODULE_BODY}"
                    self._add(self.calls.setdefault(outer, []), CallSite(outer, -1, place, place.key))
                    prefix = place.name + "."
                    owner = self.program.modules[place.owner]
                    for qual in owner.functions:
                        if qual.startswith(prefix):
                            self.escapes.setdefault(function.key, set()).add(f"{place.owner}:{qual}")
