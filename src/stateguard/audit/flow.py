"""Where the program writes down what values come from: assignments, calls, decorators, stored members.

Everything here is found from names alone, without following values, so the resolver may ask at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from stateguard.audit.facts import MODULE_BODY, Binding, Call, FunctionFacts, ModuleFacts, Refs
from stateguard.audit.program import Place, Program

MAX_ROWS = 12
"""Calls of one function or class that are looked at."""
_STORING = frozenset({"append", "appendleft", "insert", "setdefault", "add", "put", "put_nowait"})


class CallRow(NamedTuple):
    """One call, and the function it stands in."""

    module: ModuleFacts
    fn: FunctionFacts
    call: Call


class StoredRow(NamedTuple):
    """References that a function puts into a module-level container."""

    module: ModuleFacts
    fn: FunctionFacts
    refs: Refs


class Flow:
    """Indexes of a program, each built when it is first asked for."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._calls: dict[str, list[CallRow]] | None = None
        self._stored: dict[tuple[str, str], list[StoredRow]] | None = None
        self._decorated: dict[str, list[Place]] | None = None

    def sources(self, place: Place) -> list[tuple[ModuleFacts, FunctionFacts, Binding]]:
        """The assignments that bind a module variable or class attribute, with the scope they stand in."""
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

    def calls_of(self, key: str) -> list[CallRow]:
        """The calls of a class or function (``module:qualified.name``), at most :data:`MAX_ROWS`."""
        if self._calls is None:
            self._calls = self._find_calls()
        return self._calls.get(key, [])

    def _find_calls(self) -> dict[str, list[CallRow]]:
        program = self.program
        found: dict[str, list[CallRow]] = {}
        names = {q.rpartition(".")[2] for m in program.modules.values() for q in (*m.classes, *m.functions)}
        for function in program.functions.values():
            for call in function.facts.calls:
                if call.callee.replace(":", ".").rpartition(".")[2] not in names:
                    continue
                for place in program.static(function.module.name, call.callee):
                    if place.kind in "CF":
                        rows = found.setdefault(place.key, [])
                        if len(rows) < MAX_ROWS:
                            rows.append(CallRow(function.module, function.facts, call))
        return found

    def stored_in(self, place: Place) -> list[StoredRow]:
        """What functions put into a module-level container: ``SESSIONS[user] = state``."""
        if self._stored is None:
            self._stored = self._find_stored()
        return self._stored.get((place.owner, place.name), [])

    def _find_stored(self) -> dict[tuple[str, str], list[StoredRow]]:
        found: dict[tuple[str, str], list[StoredRow]] = {}
        for function in self.program.functions.values():
            for write in function.facts.writes:
                if write.ref[0] not in "gm" or not write.value:
                    continue
                if write.op != "item" and not (write.op == "call" and write.how in _STORING):
                    continue
                refs = tuple(r for r in write.value if r[0] in "gmfdhp")
                if not refs:
                    continue
                for place in self.program.static(function.module.name, write.ref):
                    if place.kind == "V":
                        rows = found.setdefault((place.owner, place.name), [])
                        if len(rows) < MAX_ROWS:
                            rows.append(StoredRow(function.module, function.facts, refs))
        return found

    def decorated_by(self, key: str) -> list[Place]:
        """The functions that a decorator function is given."""
        if self._decorated is None:
            self._decorated = self._find_decorated()
        return self._decorated.get(key, [])

    def _find_decorated(self) -> dict[str, list[Place]]:
        program = self.program
        found: dict[str, list[Place]] = {}
        for function in program.functions.values():
            target = Place("F", function.module.name, function.facts.qual)
            for decorator in function.facts.decorators:
                for place in program.static(function.module.name, decorator.ref):
                    if place.kind != "F" or place.key not in program.functions:
                        continue
                    makers = [place.key]
                    if decorator.called:  # ``@register("name")``: what ``register`` returns is the decorator
                        returned = program.functions[place.key].facts.returns
                        makers = [f"{place.owner}:{ref[2:]}" for ref in returns_functions(returned)]
                    for maker in makers:
                        rows = found.setdefault(maker, [])
                        if len(rows) < MAX_ROWS:
                            rows.append(target)
        return found


def returns_functions(refs: list[str]) -> list[str]:
    """Those of a function's results that are functions defined inside it."""
    return [ref for ref in refs if ref[:2] == "d:"]
