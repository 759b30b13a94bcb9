"""Which functions requests can reach, which run only at start-up, and which nobody is seen to call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from stateguard.audit.callgraph import CallGraph
from stateguard.audit.entrypoints import EntryPoints
from stateguard.audit.facts import MODULE_BODY
from stateguard.audit.program import Program

MAX_LABELS = 3
"""Entry points named in a finding."""


class Reach:
    """The status of every function: ``request``, ``startup`` or ``unknown``."""

    def __init__(self, program: Program, graph: CallGraph, entries: EntryPoints) -> None:
        self.entries = entries
        self.labels: dict[str, list[str]] = {}
        self._parents: dict[str, str] = {}
        self._from_requests(graph, entries)
        self._startup = self._from_startup(program, graph, entries)
        self._unknown = self._from_unknown(program, graph, entries)

    @property
    def has_entries(self) -> bool:
        """Whether any entry point was found: otherwise every public function may serve a request."""
        return bool(self.entries.requests)

    def status(self, key: str) -> str:
        """``request``, ``startup`` (import time, start-up hooks, command lines) or ``unknown``."""
        if key in self.labels:
            return "request"
        if key.endswith(MODULE_BODY) or key in self.entries.startup:
            return "startup"
        if key in self._startup and key not in self._unknown:
            return "startup"
        return "unknown"

    def trail(self, key: str) -> list[str]:
        """The functions from an entry point to ``key``."""
        trail = [key]
        while (parent := self._parents.get(trail[-1])) is not None and parent not in trail:
            trail.append(parent)
        return trail[::-1]

    def _from_requests(self, graph: CallGraph, entries: EntryPoints) -> None:
        for start, label in sorted(entries.requests.items(), key=lambda pair: (pair[1], pair[0])):
            queue = deque([start])
            seen = {start}
            while queue:
                key = queue.popleft()
                labels = self.labels.setdefault(key, [])
                if label in labels or len(labels) >= MAX_LABELS:
                    continue
                labels.append(label)
                for callee in self._next(graph, key):
                    if callee not in seen:
                        seen.add(callee)
                        if callee not in self.labels and callee not in entries.requests:
                            self._parents.setdefault(callee, key)
                        queue.append(callee)

    @staticmethod
    def _next(graph: CallGraph, key: str) -> Iterable[str]:
        for site in graph.calls.get(key, ()):
            yield site.callee
        yield from sorted(graph.escapes.get(key, ()))
        yield from sorted(graph.by_name.get(key, ()))

    def _from_startup(self, program: Program, graph: CallGraph, entries: EntryPoints) -> set[str]:
        """Import-time code, start-up hooks and what they call (not what they hand over to run later)."""
        seen = {body.key for body in program.bodies()} | entries.startup
        queue = deque(seen)
        while queue:
            for site in graph.calls.get(queue.popleft(), ()):
                if site.callee not in seen:
                    seen.add(site.callee)
                    queue.append(site.callee)
        return seen

    def _from_unknown(self, program: Program, graph: CallGraph, entries: EntryPoints) -> set[str]:
        """Functions that nothing is seen to call, and everything these reach."""
        called = {key for key, sites in graph.callers.items() if any(s.caller != key for s in sites)}
        starts = [
            key
            for key, function in program.functions.items()
            if key not in called and key not in entries.startup and function.facts.qual != MODULE_BODY
        ]
        seen = set(starts)
        queue = deque(starts)
        while queue:
            for callee in self._next(graph, queue.popleft()):
                if callee not in seen:
                    seen.add(callee)
                    queue.append(callee)
        return seen
