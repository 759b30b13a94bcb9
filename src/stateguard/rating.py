"""How bad a change is, and why: the rules that keep harmless writes out of the alarm.

Each rule is one of the recurring shapes of writes to shared state that public issue trackers show, leaks
and harmless ones: caches, counters, registries of live connections, lazy initialisation, tables per user.
"""

from __future__ import annotations

import re
import threading
import types
import weakref
from collections import deque
from contextlib import suppress
from operator import is_
from typing import TYPE_CHECKING, Any

from stateguard.watch.content import differing, own_dict
from stateguard.watch.diff import ABSENT
from stateguard.watch.kinds import Kind, is_a, module_of, mro, namespace, qualname
from stateguard.watch.paths import GENERATED

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

Mark = tuple[str, "weakref.ref[Any] | None"]

_CLOCKS = frozenset({"datetime.datetime", "datetime.date", "datetime.timedelta"})


def _is_generated(key: Any) -> bool:
    """Whether a key was made by a program, one for each entry: a hash, a random id."""
    if type(key) is bytes:
        key = key.decode("latin-1")
    if type(key) is not str:
        return _full_name(type(key)) == "uuid.UUID"
    return re.match(GENERATED, key) is not None


def _is_counter(old: Any, new: Any) -> bool:
    return all(type(value) is int or type(value) is float for value in (old, new))


def _is_clock(old: Any, new: Any) -> bool:
    return type(old) is type(new) and _full_name(type(new)) in _CLOCKS


def _full_name(cls: type) -> str:
    return f"{module_of(cls)}.{qualname(cls)}"


def _all_floats(*parts: Iterable[Any]) -> bool:
    return all(type(value) is float for values in parts for value in values)


def _says_who(value: Any) -> bool:
    """What a lock notes of its owner: taken or not, by which thread, which threads are waiting."""
    if type(value) is list:
        return len(value) <= TAKEN and all(is_a(one, threading.Thread) for one in list.copy(value))
    return value is None or type(value) is bool or is_a(value, threading.Thread)


class Rater:
    """Rates the changes of one guard; remembers which names were initialised lazily before."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._initialised: set[str] = set()
        self._taken: dict[str, deque[Mark]] = {}

    def rate(self, seen: Seen, data: RequestData | None, requests: int = 1) -> Rating:
        """The severity of a change made by a request that brought ``data``, and the reason in words.

        ``requests``: how many have run since the last look; the change may be the sum of what each has made.
        """
        change = seen.change
        if change.kind == "reordered":
            return "note", "only the order changed, as in a cache that tracks recent use"
        if _is_counter(change.old, change.new):
            return "note", "a counter"
        if _is_clock(change.old, change.new):
            return "note", "a point in time, moved on"
        keyed = self._own_entry(seen, data)
        if data is not None and not keyed and change.came and self._holds(change.came, data):
            return "critical", "shared state now holds data of this request"
        if change.kind == "advanced":
            return "note", "an iterator that went on"
        if keyed:
            return "low", "an entry under a key of this request's own: a table per user, a cache"
        if change.kind == "setting changed" or seen.root.startswith("os.environ"):
            return "high", "a setting of the whole process changed"
        if self._is_lock_flag(seen):
            return "low", "who holds it, noted by an object that has a lock of its own"
        if change.old is None and change.entry and change.kind in ("rebound", "attribute set", "replaced"):
            return self._lazy(seen)
        if change.kind == "attribute added" and self._is_cached_property(seen):
            return "note", "a cached property, filled on first use"
        if change.kind == "left behind":
            if self._is_handle(change.new):
                return "low", "an object kept per thread, such as a connection"
            if change.before == ABSENT and self._watcher.table.info(type(change.new)).kind is Kind.INSTANCE:
                return "low", "an object made once per thread"
            return "high", "the next request on this thread inherits it"
        if requests > 1 and self._is_traffic(seen, requests):
            return "low", "a registry of what is under way: more than one request has come or gone"
        if self._is_ring(seen):
            return "low", "the latest of something, in a deque of limited length"
        if not change.entry and (change.came or change.went) and _all_floats(change.came, change.went):
            return "low", "measurements or points in time: nothing but floating-point numbers"
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
        if change.went and not change.came and (change.kind == "removed" or len(change.went) == 1):
            if len(self._taken) >= ROOTS:
                self._taken.clear()
            taken = self._taken.setdefault(seen.root, deque(maxlen=TAKEN))
            taken.extend(map(self._mark, change.went[:TAKEN]))
            return "taken out, as from a pool or a queue"
        out_earlier = self._taken.get(seen.root)
        if out_earlier and change.came and not change.went and len(change.came) <= TAKEN:
            back = [self._taken_out(value, out_earlier) for value in change.came]
            if all(mark is not None for mark in back):
                # By identity: comparing two weak references compares the objects.
                returned = set(map(id, back))
                out = [mark for mark in out_earlier if id(mark) not in returned]
                self._taken[seen.root] = deque(out, maxlen=TAKEN)
                return "put back where it was taken out before, as in a pool"
        return None

    def _is_lock_flag(self, seen: Seen) -> bool:
        """Whether one of the flags was set by which a lock or a pool written in Python keeps its books."""
        change = seen.change
        if not (change.entry and _says_who(change.old) and _says_who(change.new)):
            return False
        owner = self._watcher.paths.parent(seen.node) if type(seen.node) is dict else seen.node
        info = self._watcher.table.info(type(owner))
        if info.kind is not Kind.INSTANCE:
            return False
        own = own_dict(info, owner) or {}
        return any(id(type(value)) in _LOCKS for value in list(own.values())[:64])

    def _is_traffic(self, seen: Seen, requests: int) -> bool:
        """Whether each of the requests may have put in one entry of its own, or taken one out.

        There are not more entries than there were requests, none was overwritten, and each is an object that
        stands for something live, or lies under a key that a program has made.
        """
        change, difference = seen.change, seen.difference
        if difference is None or change.kind not in ("cleared", "replaced"):
            return False
        if change.entry:  # the identity of a thread, a file descriptor: used anew as soon as it is free
            old, new = change.old, change.new
            return type(change.key) is int and type(old) is type(new) and self._is_handle(new)
        before, after = differing(difference.before, difference.after)
        if before.keys is None or after.keys is None:
            went, came = change.went, change.came
            made = False
        else:
            had = dict(zip(map(id, before.keys), before.values, strict=False))
            has = dict(zip(map(id, after.keys), after.values, strict=False))
            if any(key in had and had[key] is not value for key, value in has.items()):
                return False
            went = [value for key, value in had.items() if key not in has]
            came = [value for key, value in has.items() if key not in had]
            keys = [key for key in (*before.keys, *after.keys) if (id(key) in had) != (id(key) in has)]
            made = all(type(key) is int or _is_generated(key) for key in keys)
        if max(len(went), len(came)) > requests:
            return False
        return made or all(map(self._is_handle, (*went, *came)))

    @staticmethod
    def _is_ring(seen: Seen) -> bool:
        """Whether elements came to one end of a full deque, and pushed out others at the other."""
        difference = seen.difference
        if difference is None or type(difference.node) is not deque:
            return False
        before, after, length = difference.before.values, difference.after.values, difference.node.maxlen
        if length is None or len(after) != length:
            return False
        if set(map(id, before)).isdisjoint(map(id, after)):
            return True  # so much has come since the last look that nothing of what was there is left
        at = next((i for i, one in enumerate(before) if one is after[0]), None)
        kept = [] if at is None else before[at:]
        if kept and len(kept) < len(after) and all(map(is_, kept, after)):
            return True
        at = next((i for i, one in enumerate(after) if one is before[0]), None) if before else None
        return bool(at) and all(map(is_, before[: len(after) - (at or 0)], after[at:]))

    def _mark(self, value: Any) -> Mark:
        """By what an element is known again: its content and, as it may be used in between, the object."""
        alive = None
        if self._watcher.table.info(type(value)).kind is Kind.INSTANCE:
            with suppress(TypeError):  # without a place for weak references
                alive = weakref.ref(value)
        return self._watcher.digester.digest(value), alive

    def _taken_out(self, value: Any, earlier: Iterable[Mark]) -> Mark | None:
        digest = self._watcher.digester.digest(value)
        for mark in earlier:
            if mark[0] == digest or (mark[1] is not None and mark[1]() is value):
                return mark
        return None

    def _lazy(self, seen: Seen) -> Rating:
        new = seen.change.new
        if id(type(new)) in _ATOMS or seen.path in self._initialised:
            return "high", "a shared name was given a new value"
        self._initialised.add(seen.path)
        return "note", "initialised once, on first use"

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
        return self._watcher.table.info(type(value)).kind in (Kind.LEAF, Kind.GENERATOR)

    def _own_entry(self, seen: Seen, data: RequestData | None) -> bool:
        """Whether the change lies in an entry that only this request's data leads to."""
        if data is None or seen.node is None:
            return False
        keys = self._watcher.paths.own_keys(seen.node)
        if seen.change.entry and seen.change.kind in ("added", "replaced", "removed"):
            keys.append(seen.change.key)
        constants = self._watcher.constants() if keys else frozenset()
        return any(data.owns_key(key, constants) or _is_generated(key) for key in keys)

    def _holds(self, values: Sequence[Any], data: RequestData) -> bool:
        """Whether data of the request lies in ``values``."""
        strings = self._strings(values)
        return data.appears_in(strings) and data.appears_in(strings, self._watcher.constants())

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
                    todo.extend(digester.attributes(value).values())
        return found
