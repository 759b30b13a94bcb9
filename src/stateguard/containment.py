"""Put shared state back as it was before a guilty request: ``on_leak="restore"``.

Only what is proven: one request alone has written, nobody has written to the same place since, and it holds
what that request has left there. Only what can be written without running application code: the builtin
containers, the dictionaries of instances, the globals of modules, class attributes, variables of closures.
Each leak says whether it was put back, and if not, why.
"""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from stateguard.leak import Leak, at_least
from stateguard.watch.content import class_dict, settled
from stateguard.watch.kinds import Kind, is_a

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.attribution.request import GuardedRequest
    from stateguard.leak import Severity
    from stateguard.watch.content import Content
    from stateguard.watch.watcher import Seen, Watcher

DONE = "put back at the end of the request"

_ABSENT: Any = object()
_WHOLE: Any = object()

_MAPPINGS: dict[type, Any] = {dict: dict, defaultdict: dict, Counter: dict, OrderedDict: OrderedDict}
"""Exact types, and the class whose C methods write to them: a subclass may keep books of its own."""

_HASHABLE = frozenset(map(id, (str, bytes, int, float, bool, type(None))))
"""Types whose hashing and comparing is nobody's code. By identity: a metaclass may define ``__eq__``."""


class _Part:
    """One place that a request has written to: an entry of a mapping, or the whole content of a node."""

    __slots__ = ("after", "before", "key", "kind", "leaks", "node", "owner", "spoiled")

    def __init__(self, node: Any, owner: Any, key: Any, kind: Kind, spoiled: str = "") -> None:
        self.node = node
        self.owner = owner
        """The class whose dictionary the node is, else ``None``."""
        self.key = key
        self.kind = kind
        self.before: Any = None
        self.after: Any = None
        self.leaks: list[Leak] = []
        self.spoiled = spoiled
        """Why it cannot be put back."""


class Containment:
    """What the requests being served have leaked, and how it was before. The guard's lock is held."""

    def __init__(self, watcher: Watcher, threshold: Severity) -> None:
        self._watcher = watcher
        self._threshold = threshold
        self._parts: WeakKeyDictionary[GuardedRequest, dict[tuple[Any, Any], _Part]] = WeakKeyDictionary()

    def note(self, seen: Seen, leak: Leak | None, sole: GuardedRequest | None) -> Leak | None:
        """A change was seen. ``leak`` is what it was judged to be, ``None`` if it is meant or nobody's."""
        mark = _mark(seen)
        for request, parts in list(self._parts.items()):
            if request is not sole:
                for key, other in parts.items():
                    if key[0] == mark[0] and (key == mark or _WHOLE in (key[1], mark[1])):
                        other.spoiled = "other code has written to it since"
        if leak is None:
            return None
        if sole is None:
            if not at_least(leak.severity, self._threshold):
                return leak
            return replace(leak, contained="not put back: it is not proven which request did it")
        parts = self._parts.setdefault(sole, {})
        part = parts.get(mark)
        if part is None:
            if not at_least(leak.severity, self._threshold):
                return leak
            part = parts[mark] = self._part(seen)
        elif seen.difference is not None:
            part.after = self._state(seen, seen.difference.after, part.key)
        if leak.restored:
            del parts[mark]
        elif at_least(leak.severity, self._threshold):
            part.leaks.append(leak)
        return leak

    def put_back(self, request: GuardedRequest, obstacle: str = "") -> tuple[list[Leak], set[int]]:
        """Undo what ``request`` has leaked: the leaks, with what became of each, and the nodes written to.

        Nothing is, for the reason that is given, if there is an ``obstacle``.
        """
        told: list[Leak] = []
        written: set[int] = set()
        parts = list(self._parts.pop(request, {}).values())
        for part in reversed(parts):
            outcome = part.spoiled or obstacle or self._undo(part)
            if not outcome:
                written.add(id(part.node))
            said = f"not put back: {outcome}" if outcome else DONE
            told += [replace(leak, contained=said) for leak in part.leaks]
        if self._watcher.discard is not None:
            self._watcher.discard(parts)  # what the request brought may die of this: not under the lock
        return told, written

    def holds(self, request: GuardedRequest) -> bool:
        """Whether there is anything to put back for ``request``."""
        return request in self._parts

    # -- one place -------------------------------------------------------------------------------

    def _part(self, seen: Seen) -> _Part:
        difference, key = seen.difference, _mark(seen)[1]
        if difference is None:
            return _Part(seen.node, None, key, Kind.LEAF, spoiled="it is no plain container")
        kind, node = difference.info.kind, difference.node
        owner = self._watcher.paths.parent(node) if kind is Kind.DICT else None
        part = _Part(node, owner if is_a(owner, type) else None, key, kind)
        part.spoiled = _obstacle(part)
        part.before = self._state(seen, difference.before, key)
        part.after = self._state(seen, difference.after, key)
        if part.before is None or part.after is None:
            part.spoiled = part.spoiled or "what it held before was not kept"
        return part

    @staticmethod
    def _state(seen: Seen, content: Content, key: Any) -> Any:
        """What the place held: a list of elements, or ``(value,)`` of an entry, ``(_ABSENT,)`` of none."""
        if key is _WHOLE:
            if content.keys is not None:
                return list(zip(content.keys, content.values, strict=False))
            return list(content.values)
        for known, value in zip(content.keys or (), content.values, strict=False):
            if known is key or (type(known) is type(key) and known == key):
                return (value,)
        return None if content.keys is None else (_ABSENT,)

    def _undo(self, part: _Part) -> str:
        """Write the old content; an empty string, or why that was not possible."""
        if part.owner is not None:
            return _undo_entry(part, class_dict(part.owner).get, _setter_of_class(part.owner))
        if part.kind in (Kind.DICT, Kind.ORDERED):
            base = _MAPPINGS[type(part.node)]
            if part.key is _WHOLE:
                return _undo_mapping(part, base)

            def write(key: Any, value: Any) -> None:
                if value is _ABSENT:
                    base.__delitem__(part.node, key)
                else:
                    base.__setitem__(part.node, key, value)

            return _undo_entry(part, lambda key, default: dict.get(part.node, key, default), write)
        if part.kind is Kind.CELL:
            return _undo_cell(part)
        return _undo_elements(part)


def _mark(seen: Seen) -> tuple[Any, Any]:
    """What tells one place from another: an entry of a mapping, else the whole node."""
    if seen.difference is None:
        return seen.path, _WHOLE
    key = seen.change.key if seen.change.entry else _WHOLE
    kind = seen.difference.info.kind
    if kind in (Kind.LIST, Kind.DEQUE, Kind.SET, Kind.CELL) or not _is_plain(key):
        key = _WHOLE
    return id(seen.node), key


def _is_plain(key: Any, depth: int = 4) -> bool:
    if type(key) is tuple and depth:
        return all(_is_plain(part, depth - 1) for part in key)
    return id(type(key)) in _HASHABLE


def _obstacle(part: _Part) -> str:
    """Why the place cannot be written to without running application code, or an empty string."""
    node, kind = part.node, part.kind
    if part.owner is not None:
        return "" if type(part.owner) is type else "its class has a metaclass of its own"
    if kind in (Kind.DICT, Kind.ORDERED):
        if type(node) not in _MAPPINGS:
            return f"{type(node).__name__} is a mapping of the application's own"
        if not all(map(_is_plain, settled(lambda: list(dict.__iter__(node))))):
            return "its keys are objects with code of their own"
        return ""
    if kind in (Kind.LIST, Kind.DEQUE, Kind.SET):
        if type(node) not in (list, deque, set):
            return f"{type(node).__name__} is a container of the application's own"
        if kind is Kind.SET and not all(map(_is_plain, settled(lambda: list(set.__iter__(node))))):
            return "its members are objects with code of their own"
        return ""
    return "" if kind is Kind.CELL else "it is no plain container"


def _undo_entry(part: _Part, get: Callable[[Any, Any], Any], write: Callable[[Any, Any], None]) -> str:
    now = get(part.key, _ABSENT)
    if now is not part.after[0]:
        return "other code has written to it since"
    if now is not part.before[0]:
        write(part.key, part.before[0])
    return ""


def _setter_of_class(owner: type) -> Callable[[Any, Any], None]:
    def write(key: Any, value: Any) -> None:
        if value is _ABSENT:
            type.__delattr__(owner, key)
        else:
            type.__setattr__(owner, key, value)

    return write


def _undo_mapping(part: _Part, base: Any) -> str:
    node, now = part.node, settled(lambda: list(dict.items(part.node)))
    if {id(key): id(value) for key, value in now} != {id(key): id(value) for key, value in part.after}:
        return "other code has written to it since"
    if not all(_is_plain(key) for key, _ in (*now, *part.before)):
        return "its keys are objects with code of their own"
    before = dict(part.before)
    if len(before) == len(now) and all(before.get(key, _ABSENT) is value for key, value in now):
        return "only its order has changed"
    for key, value in now:
        if key not in before:
            base.__delitem__(node, key)
        elif before[key] is not value:
            base.__setitem__(node, key, before[key])
    for key, value in part.before:
        if not dict.__contains__(node, key):
            base.__setitem__(node, key, value)
    return ""


def _undo_cell(part: _Part) -> str:
    cell: types.CellType = part.node
    now = [cell.cell_contents] if part.after else []
    if not _same(now, part.after) or not part.before:
        return "other code has written to it since"
    cell.cell_contents = part.before[0]
    return ""


def _undo_elements(part: _Part) -> str:
    node, before = part.node, part.before
    read: Any = {Kind.LIST: list, Kind.DEQUE: deque, Kind.SET: set}[part.kind]
    now = settled(lambda: list(read.__iter__(node)))
    if part.kind is Kind.SET:
        if set(map(id, now)) != set(map(id, part.after)):
            return "other code has written to it since"
        if not all(map(_is_plain, (*now, *before))):
            return "its members are objects with code of their own"
        set.intersection_update(node, before)
        set.update(node, before)
        return ""
    if not _same(now, part.after):
        return "other code has written to it since"
    if part.kind is Kind.LIST:
        list.__setitem__(node, slice(None), before)
    elif _same(now[: len(before)], before):
        for _ in range(len(now) - len(before)):
            deque.pop(node)
    else:
        deque.clear(node)
        deque.extend(node, before)
    return ""


def _same(a: list[Any], b: list[Any]) -> bool:
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
