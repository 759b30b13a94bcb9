"""How bad a change is, and why: the rules that keep harmless writes out of the alarm.

Each rule is one of the recurring shapes of writes to shared state that public issue trackers show, leaks
and harmless ones: caches, counters, registries of live connections, lazy initialisation, tables per user.
"""

from __future__ import annotations

import threading
import types
from collections import deque
from operator import is_
from typing import TYPE_CHECKING, Any

from stateguard.watch.content import own_dict
from stateguard.watch.kinds import Kind, is_a, mro, namespace, qualname

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stateguard.leak import Severity
    from stateguard.request_data import RequestData
    from stateguard.watch.watcher import Seen, Watcher

_ATOMS = frozenset(map(id, (str, bytes, bytearray, int, float, complex, bool, type(None))))
_CALLABLES = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)
_LOCKS = frozenset(
    map(
        id,
        (
            type(threading.Lock()),
            type(threading.RLock()),
            threading.Condition,
            threading.Semaphore,
            threading.BoundedSemaphore,
            threading.Event,
        ),
    )
)
"""By identity, as the atoms: a metaclass may define ``__eq__``."""
_IN_CONTAINER = frozenset({"appended", "inserted", "added", "removed"})

STRINGS = 400
"""Strings of a new value that are compared with the request's data."""

TAKEN = 64
"""Elements remembered per root as taken out, until they are put back."""

ROOTS = 256
"""Roots for which that is remembered."""

Rating = tuple["Severity", str]


class Rater:
    """Rates the changes of one guard; remembers which names were initialised lazily before."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._initialised: set[str] = set()
        self._taken: dict[str, deque[str]] = {}

    def rate(self, seen: Seen, data: RequestData | None) -> Rating:
        """The severity of a change made by a request that brought ``data``, and the reason in words."""
        change = seen.change
        if change.kind == "reordered":
            return "note", "only the order changed, as in a cache that tracks recent use"
        if change.kind == "advanced" or self._is_counter(change.old, change.new):
            return "note", "a counter"
        keyed = self._own_entry(seen, data)
        if data is not None and not keyed and change.came and data.appears_in(self._strings(change.came)):
            return "critical", "shared state now holds data of this request"
        if keyed:
            return "low", "an entry under a key of this request's own: a table per user, a cache"
        if change.kind == "setting changed" or seen.root.startswith("os.environ"):
            return "high", "a setting of the whole process changed"
        if change.old is None and change.entry and change.kind in ("rebound", "attribute set", "replaced"):
            return self._lazy(seen)
        if change.kind == "attribute added" and self._is_cached_property(seen):
            return "note", "a cached property, filled on first use"
        if change.kind == "left behind":
            if self._is_handle(change.new):
                return "low", "an object kept per thread, such as a connection"
            return "high", "the next request on this thread inherits it"
        if self._is_ring(seen):
            return "low", "the latest of something, in a deque of limited length"
        if self._is_lock_flag(seen):
            return "low", "a flag of an object that has a lock of its own"
        pooled = self._pooled(seen)
        if pooled is not None:
            return "low", pooled
        if change.kind in _IN_CONTAINER:
            parts: Sequence[Any] = change.came or change.went
            if parts and all(map(self._is_handle, parts)):
                return "low", "a registry or pool of live objects (connections, tasks, locks)"
            if change.entry:
                return "low", "an entry came or went under a key of its own: a cache or a table"
        return "high", "content that all requests share changed"

    def _pooled(self, seen: Seen) -> str | None:
        """Why a change is that of a pool or a queue: elements are taken out, the same ones put back."""
        change = seen.change
        if change.entry:
            return None
        digest = self._watcher.digester.digest
        if change.went and not change.came and (change.kind == "removed" or len(change.went) == 1):
            if len(self._taken) >= ROOTS:
                self._taken.clear()
            out = self._taken.setdefault(seen.root, deque(maxlen=TAKEN))
            out.extend(map(digest, change.went[:TAKEN]))
            return "taken out, as from a pool or a queue"
        out_earlier = self._taken.get(seen.root)
        if out_earlier and change.came and not change.went and len(change.came) <= TAKEN:
            back = list(map(digest, change.came))
            if all(mark in out_earlier for mark in back):
                for mark in back:
                    if mark in out_earlier:
                        out_earlier.remove(mark)
                return "put back where it was taken out before, as in a pool"
        return None

    def _is_lock_flag(self, seen: Seen) -> bool:
        """Whether one of the flags was set by which a lock or a pool written in Python keeps its books."""
        change = seen.change
        if not (change.entry and type(change.old) is bool and type(change.new) is bool):
            return False
        owner = self._watcher.paths.parent(seen.node) if type(seen.node) is dict else seen.node
        info = self._watcher.table.info(type(owner))
        if info.kind is not Kind.INSTANCE:
            return False
        own = own_dict(info, owner) or {}
        return any(id(type(value)) in _LOCKS for value in list(own.values())[:64])

    @staticmethod
    def _is_ring(seen: Seen) -> bool:
        """Whether elements came to one end of a full deque, and as many were pushed out at the other."""
        difference = seen.difference
        if difference is None or type(difference.node) is not deque:
            return False
        before, after, length = difference.before.values, difference.after.values, difference.node.maxlen
        if length is None or len(after) != length:
            return False
        at = next((i for i, one in enumerate(before) if one is after[0]), None)
        kept = [] if at is None else before[at:]
        if kept and len(kept) < len(after) and all(map(is_, kept, after)):
            return True
        at = next((i for i, one in enumerate(after) if one is before[0]), None) if before else None
        return bool(at) and all(map(is_, before[: len(after) - (at or 0)], after[at:]))

    def _lazy(self, seen: Seen) -> Rating:
        new = seen.change.new
        if id(type(new)) in _ATOMS or seen.path in self._initialised:
            return "high", "a shared name was given a new value"
        self._initialised.add(seen.path)
        return "note", "initialised once, on first use"

    @staticmethod
    def _is_counter(old: Any, new: Any) -> bool:
        return all(type(value) is int or type(value) is float for value in (old, new))

    def _is_cached_property(self, seen: Seen) -> bool:
        """Whether the class declares the new attribute as computed once (``functools``, werkzeug, Django)."""
        owner = self._watcher.paths.parent(seen.node)
        for cls in mro(type(owner)):
            found = namespace(cls).get(seen.change.key)
            if found is not None:
                return any(qualname(base) == "cached_property" for base in mro(type(found)))
        return False

    def _is_handle(self, value: Any) -> bool:
        """An object of somebody else's class that stands for something live, not for data."""
        if id(type(value)) in _ATOMS or any(is_a(value, cls) for cls in (type, *_CALLABLES)):
            return False
        return self._watcher.table.info(type(value)).kind is Kind.LEAF

    def _own_entry(self, seen: Seen, data: RequestData | None) -> bool:
        """Whether the change lies in an entry that only this request's data leads to."""
        if data is None or seen.node is None:
            return False
        if (
            seen.change.entry
            and seen.change.kind in ("added", "replaced", "removed")
            and data.owns_key(seen.change.key)
        ):
            return True
        return any(data.owns_key(key) for key in self._watcher.paths.own_keys(seen.node))

    def _strings(self, values: Iterable[Any]) -> list[str]:
        """The strings inside new values, nearest first."""
        found: list[str] = []
        seen: set[int] = set()
        todo = list(values)
        digester = self._watcher.digester
        steps = 0
        while todo and len(found) < STRINGS and steps < 4 * STRINGS:
            value = todo.pop(0)
            steps += 1
            if type(value) is str:
                found.append(value)
            elif type(value) is bytes or type(value) is bytearray:
                found.append(bytes(value[:4096]).decode("latin-1"))
            elif id(type(value)) not in _ATOMS and id(value) not in seen:
                seen.add(id(value))
                parts = digester.parts(value)
                if parts is not None:
                    todo.extend(parts[0][:STRINGS])
                    todo.extend(parts[1][:STRINGS] if parts[1] is not None else ())
        return found
