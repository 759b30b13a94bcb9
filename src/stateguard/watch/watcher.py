"""One watch: from patterns to observed changes.

The watcher resolves modules, keeps the graph of what is reachable from them, and turns what differs into
changes with paths. It knows nothing of requests. Not thread-safe: the guard holds a lock around it.
"""

from __future__ import annotations

import sys
import types
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.credentials import HIDDEN, concealed, names_a_secret
from stateguard.watch.chain import application_chain
from stateguard.watch.constants import string_constants
from stateguard.watch.diff import Describer, RawChange
from stateguard.watch.digest import Digester
from stateguard.watch.edges import Anchor, is_dunder
from stateguard.watch.graph import Graph
from stateguard.watch.kinds import Kind, TypeInfo, TypeTable, is_a, module_of, qualname
from stateguard.watch.names import module_dict
from stateguard.watch.paths import Paths
from stateguard.watch.patterns import Names, Pattern, check_names, first_party, parse, validate
from stateguard.watch.process import add_process_roots, settings
from stateguard.watch.residue import has_init, take, thread_dict
from stateguard.watch.surfaces import SURFACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from stateguard.watch.graph import Difference


def _is_importing(members: dict[str, Any]) -> bool:
    return bool(getattr(members.get("__spec__"), "_initializing", False))


LONGEST = 20_000_000
"""Nanoseconds that telling of one difference is reckoned to take at most, whatever was measured."""


def _hidden(value: Any) -> str:
    return HIDDEN


class Seen:
    """A change with its place in the watched state. Holds application objects: drop it soon."""

    __slots__ = ("change", "difference", "fresh", "holder", "late", "node", "path", "root")

    def __init__(
        self,
        path: str,
        root: str,
        change: RawChange,
        node: Any,
        fresh: bool = False,
        difference: Difference | None = None,
        holder: str = "",
    ) -> None:
        self.path = path
        self.root = root
        self.change = change
        self.node = node
        self.fresh = fresh
        self.late = difference is not None and difference.late
        self.difference = difference
        self.holder = holder
        """The type of the object that the root names."""


class Watcher:
    """The watched state of this process.

    ``patterns`` as in ``Guard(watch=...)``; none means all first-party modules. Raises
    :class:`stateguard.errors.WatchError` for a pattern that can match nothing.
    """

    def __init__(
        self,
        patterns: Sequence[str] | None = None,
        *,
        surfaces: Mapping[str, tuple[str, ...]] | None = None,
        process: bool = True,
        show_values: bool = False,
    ) -> None:
        self.patterns: list[Pattern] | None = None if patterns is None else [parse(text) for text in patterns]
        for pattern in self.patterns or ():
            validate(pattern)
        self._process = process
        self._first_party = first_party()
        self.table = TypeTable(self.is_watched, {**SURFACES, **(surfaces or {})})
        self.digester = Digester(self.table, show_values)
        self._show = self.shows_values = show_values
        self._known: dict[str, bool] = {}
        self._objects: list[tuple[Any, str]] = []
        self._modules_seen = 0
        self._settings: dict[str, Any] = {}
        self._telling = 0, 0
        """How many differences are being told of, and since when (``perf_counter_ns``)."""
        self._met: dict[int, Any] = {}
        self._inherited: dict[int, tuple[Any, Any]] = {}
        self.modules: list[str] = []
        self.discard: Callable[[Any], None] | None = None
        """Is given what a check has found: it may hold the last references to application objects."""
        self.let_out: Callable[[list[Any], list[Any]], None] | None = None
        """Is given what is watched no more if any of it runs code when it is let go of, and who has dropped
        that: see :class:`Farewell`."""
        self._new_graph()

    def _new_graph(self) -> None:
        self.graph = Graph(self.table)
        self.paths = Paths(self.graph, self.digester, self._show)
        self._describer = Describer(self.digester, self.paths)
        self._constants: frozenset[str] | None = None

    # -- what is watched -------------------------------------------------------------------------

    def is_watched(self, module: str) -> bool:
        """Whether the module of that name is watched, imported yet or not."""
        found = self._known.get(module)
        if found is None:
            if self.patterns is None:
                found = self._first_party(module)
                if not found and module not in sys.modules:
                    return False
            else:
                found = any(pattern.matches(module) for pattern in self.patterns)
            self._known[module] = found
        return found

    def _names(self, module: str) -> Names | None:
        """The globals of a module that are watched; ``None`` for all of them."""
        globs: list[str] = []
        for pattern in self.patterns or ():
            if pattern.matches(module):
                if pattern.names is None:
                    return None
                globs.extend(pattern.names.globs)
        return Names(globs) if globs else None

    def _matching(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        for name, module in list(sys.modules.items()):
            if type(name) is str and is_a(module, types.ModuleType) and self.is_watched(name):
                found.append((name, module_dict(module)))
        return found

    def start(self) -> None:
        """Take the baseline: walk everything that is watched as it is now."""
        self.begin()
        self.graph.walk.run()
        self.complete()

    def begin(self) -> None:
        """Begin to take the baseline: what is watched lies in ``graph.walk``, to be walked in portions."""
        self._modules_seen = len(sys.modules)
        matching = self._matching()
        self.modules = [name for name, _ in matching]
        self.table.forget()
        self._new_graph()
        self.graph.eager = False
        self._add_modules(matching)
        for obj, label in self._objects:
            self._add_object(obj, label)
        if self._process:
            add_process_roots(self.graph)
            self._settings = settings()

    def complete(self) -> None:
        """The walk has come to its end: add what can only be told from then on."""
        for variable, value in self._inherited.values():
            self._add_inherited(variable, value)
        self.look_at_context()
        self.graph.walk.run()
        self.graph.eager = self.graph.settled = True

    def _add_modules(self, matching: Iterable[tuple[str, dict[str, Any]]]) -> None:
        for name, members in matching:
            only = self._names(name)
            # A script is `__main__` to Python but may be imported under its own name as well.
            self.graph.add_root(members, Anchor(name, namespace=True), TypeInfo(dict, Kind.DICT, only=only))

    def grow(self) -> None:
        """Watch the modules that have been imported since as well, without a new walk through the others."""
        known = set(self.modules)
        new = [(name, members) for name, members in self._matching() if name not in known]
        self.modules += [name for name, _ in new]
        eager, self.graph.eager = self.graph.eager, False
        self._add_modules(new)
        self.graph.eager = eager

    def members(self) -> dict[str, dict[str, Any]]:
        """The watched modules' globals, by module name."""
        return dict(self._matching())

    def constants(self) -> frozenset[str]:
        """The strings that watched functions spell out. Asked for only once something has changed."""
        if self._constants is None:
            self._constants = string_constants(self.graph.functions())
        return self._constants

    def stop(self) -> None:
        """Let go of everything that is watched."""
        self._new_graph()
        self._objects.clear()
        self._settings = {}
        self._met.clear()
        self._inherited.clear()

    def check_patterns(self) -> None:
        """Look for names that are watched and do not exist, in the modules that are completely imported.

        Raises :class:`WatchError` for a ``module:NAME`` pattern that names no global of its module.
        """
        matching = self._matching()
        for pattern in self.patterns or ():
            ours = [
                (name, [key for key in list(members) if type(key) is str and not is_dunder(key)])
                for name, members in matching
                if pattern.matches(name) and not _is_importing(members)
            ]
            check_names(pattern, ours)

    def modules_grew(self) -> bool:
        """Whether modules that are watched have been imported since the baseline."""
        if len(sys.modules) == self._modules_seen:
            return False
        self._modules_seen = len(sys.modules)
        known = set(self.modules)
        for name in list(self._known):
            if name not in sys.modules or not self._known[name]:
                del self._known[name]  # a first-party answer depends on the module's file
        return any(name not in known for name, _ in self._matching())

    def add_app(self, app: Any) -> None:
        """Watch the attributes of an application object and of the middleware instances behind it."""
        known = {id(obj) for obj, _ in self._objects}
        for obj in application_chain(app):
            if id(obj) not in known:
                label = f"{module_of(type(obj))}.{qualname(type(obj))}()"
                self._objects.append((obj, label))
                self._add_object(obj, label)

    def _add_object(self, obj: Any, label: str) -> None:
        if obj not in self.graph:
            self.graph.add_root(obj, Anchor(label), self.table.expanded(type(obj)))

    # -- looking ---------------------------------------------------------------------------------

    def check(self, keys: bool = True) -> list[Seen]:
        """What has changed since the last check, but for what :meth:`check_cold` looks at."""
        return self._told_of(self.graph.check(keys))

    def accept(self) -> None:
        """Take for granted what is there now, however long it takes."""
        graph = self.graph
        allowance, graph.allowance = graph.allowance, None
        try:
            graph.walk.run()  # what is open is not compared
            self.check()
            self.check_cold()
            self.check_settings()
        finally:
            graph.allowance = allowance
            self._telling = 0, 0

    def check_hot(self, passing: bool = False) -> list[Seen]:
        """What has changed in nodes that have changed before: a glance, not a full check.

        ``passing``: after a line, not at the end of a stretch.
        """
        return self._told_of(self.graph.check_hot(passing))

    def check_slice(self, until: int) -> list[Seen]:
        """What has changed in the next part of the round through all nodes: a slice that ends when the clock
        (``perf_counter_ns``) shows ``until``, or soon after.
        """
        return self._told_of(self.graph.check_slice(until))

    def check_cold(self) -> list[Seen]:
        """What has changed in function parts, loggers and warnings filters since this was last called."""
        return self._told_of(self.graph.check_cold())

    def check_settings(self) -> list[Seen]:
        """Which process settings have changed since this was last called."""
        if not self._process:
            return []
        before, after = self._settings, settings()
        self._settings = after
        found = []
        for name in {**before, **after}:
            old, new = before.get(name), after.get(name)
            if old is new or (type(old) is str and type(new) is str and old == new):
                continue
            preview: Callable[[Any], str] = self.digester.preview
            digest = self.digester.digest
            if self._show and names_a_secret(name):
                preview = _hidden
            change = RawChange(
                "", "setting changed", preview(old), preview(new), digest(old), digest(new), old, new
            )
            found.append(Seen(name, name, change, None))
        return found

    def told(self) -> None:
        """What has been seen has been told of: so long it takes, to be reckoned with."""
        count, began = self._telling
        if count:
            each = min((perf_counter_ns() - began) // count, LONGEST)
            known = self.graph.telling or each
            self.graph.telling = known + (each - known) // 4
            self._telling = 0, 0

    def _told_of(self, differences: list[Difference]) -> list[Seen]:
        graph = self.graph
        out, droppers = graph.release.farewell.take_out(waiting=graph.release.leaving or bool(graph._dirty))
        if out and self.let_out is not None:
            self.let_out(out, droppers)
        return self._describe(differences) if differences else []

    def _describe(self, differences: Sequence[Difference]) -> list[Seen]:
        found: list[Seen] = []
        if differences:
            count, began = self._telling
            self._telling = count + len(differences), began or perf_counter_ns()
        if self.discard is not None:
            self.discard(differences)
        for difference in differences:
            if difference.node not in self.graph:
                continue  # nothing watched leads there any more
            changes = self._describer.describe(difference)
            if not changes:
                continue
            where = self.paths.locate(difference.node)
            if where is None:
                continue
            path, root, holder = where
            # A name of a module, a class or the application object is a root by itself.
            names = root == path and self.paths.is_namespace(difference.node)
            for change in changes:
                whole = path + change.suffix
                own = whole if names else root
                if self._show and names_a_secret(whole):
                    change.before, change.after = map(concealed, (change.before, change.after))
                held = "" if names else holder
                found.append(Seen(whole, own, change, difference.node, difference.fresh, difference, held))
        return found

    # -- context variables -----------------------------------------------------------------------

    def look_at_context(self, last: bool = False) -> None:
        """Watch what context variables hold in every request: an object set before the first one began.

        Called where a request begins. What was there in another context as well is no request's own. After
        the ``last`` call nothing is held for another.
        """
        for key, variable in list(self.graph.variables.items()):
            value = variable.get(None)
            if value is None or self.graph.edges.follow(value) is None:
                continue
            if self._met.get(key) is value:
                self._inherited[key] = (variable, value)
                self._add_inherited(variable, value)
            self._met[key] = value
        if last:
            self._met.clear()

    def _add_inherited(self, variable: Any, value: Any) -> None:
        where = self.paths.locate(variable) if variable in self.graph else None
        if where is not None and value not in self.graph:
            self.graph.add_root(value, Anchor(f"{where[0]}(inherited value)"))

    # -- thread-locals ---------------------------------------------------------------------------

    def add_thread_locals(self) -> None:
        """Watch what the thread-locals hold on this thread like any other shared state."""
        for local in list(self.graph.locals.values()):
            members, where = thread_dict(local), self.paths.locate(local)
            if members is not None and where is not None:
                self.graph.add_root(members, Anchor(where[0], namespace=True))

    def take_residue(self) -> dict[int, dict[str, Any]]:
        """What the watched thread-locals hold on this thread."""
        return take(self.graph.locals.values()) if self.graph.locals else {}

    def left_behind(self, before: Mapping[int, Mapping[str, Any]]) -> list[Seen]:
        """What this thread's thread-locals hold beyond ``before``: attributes added or replaced."""
        found: list[Seen] = []
        for key, now in self.take_residue().items():
            local = self.graph.locals[key]
            if key not in before and has_init(local):
                continue  # its __init__ has run in between: which attributes are from there is not known
            was = before.get(key, {})
            for name, value in now.items():
                old = was.get(name)
                if name in was and (old is value or self.digester.same(old, value)):
                    continue
                where = self.paths.locate(local)
                if where is None:
                    continue
                path = f"{where[0]}.{name}"
                preview: Callable[[Any], str] = self.digester.preview
                if self._show and names_a_secret(path):
                    preview = _hidden
                change = RawChange(
                    "",
                    "left behind",
                    preview(old) if name in was else "absent",
                    preview(value),
                    self.digester.digest(old) if name in was else "",
                    self.digester.digest(value),
                    old,
                    value,
                    name,
                    [value],
                    entry=True,
                )
                found.append(Seen(path, where[1], change, local))
        return found
