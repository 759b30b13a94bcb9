"""Stable hashes and redacted previews of values, made without running application code.

A hash is the same in every process for the same content, so that reports of many workers can be joined;
it says nothing of the content. Large values are sampled (:data:`ITEMS`), so a hash has bounded cost.
"""

from __future__ import annotations

import functools
import io
import itertools
import types
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from stateguard.credentials import HIDDEN, is_secret_name, looks_like_credential
from stateguard.watch.content import fingerprint, own_dict, recent, referents, settled
from stateguard.watch.kinds import Kind, TypeInfo, TypeTable, is_a, module_of, mro, qualname
from stateguard.watch.standin import StandIn, content_mark

if TYPE_CHECKING:
    from collections.abc import Iterable

ITEMS = 256
"""Elements of one container that go into a hash: half from its beginning, half from its end."""

HUGE = 32_768
"""Elements of a container beyond which :data:`FEW` of them go into a hash."""

FEW = 32
"""Few enough for a leak that grows to be told of in each request."""

NODES = 16_384
"""Values in all that are compared for one change, to tell what is equal to what it replaces."""

HASHED = 2048
"""Values in all that go into one hash."""

DEEP = 60
"""Levels below which values are not looked into."""

TEXT = 1 << 16
"""Bytes of one string that go into a hash, besides its length."""

Known = dict[int, tuple[bytes, int]]
"""The hashes of parts of a container, by identity, and how many values each is of: for the two hashes of one
change, between which nothing runs."""

_SIDE_BY_SIDE = frozenset({Kind.LIST, Kind.DEQUE, Kind.TUPLE, Kind.DICT, Kind.INSTANCE})
_NUMBERS = frozenset(map(id, (int, float, complex)))
"""By identity: a metaclass may define ``__eq__``."""

_SIMPLE = {
    id(cls): f"builtins.{cls.__name__}:".encode() for cls in (str, bytes, int, float, bool, type(None))
}
"""What begins the hash of a value without parts, by the id of its type."""


class Digester:
    """Hashes and previews for one watch."""

    def __init__(self, table: TypeTable, show_values: bool = False) -> None:
        self._table = table
        self._show = show_values

    # -- hashing ---------------------------------------------------------------------------------

    def digest(self, value: Any) -> str:
        """A short stable hash of a value's content, 12 hexadecimal digits."""
        return self._hash(value, [HASHED], (), opaque_identity=False).hex()[:12]

    def digest_parts(
        self,
        name: str,
        values: list[Any],
        keys: list[Any] | None = None,
        kind: Kind = Kind.LIST,
        gap: int = 0,
        known: Known | None = None,
    ) -> str:
        """The hash of a container that is known by its parts: how it was before it changed.

        ``gap`` elements may be left out of the middle of a huge container, if half of :data:`FEW` are there
        on either side. ``known`` is of values that have not changed since, and learns.
        """
        state = blake2b(digest_size=8)
        self._feed_parts(state, name, values, keys, [HASHED], (), False, kind, gap, known)
        return state.digest().hex()[:12]

    def same(self, a: Any, b: Any, left: list[int] | None = None) -> bool:
        """Whether two values have equal content, objects that cannot be looked into counting by identity.

        Exact for values of up to :data:`NODES` parts; larger ones are never called equal. ``left`` is how
        many parts may be compared, and learns: for many values at once.
        """
        if a is b:
            return True
        if type(a) is StandIn or type(b) is StandIn:
            return self._mark(a) == self._mark(b)
        if type(a) is not type(b):
            return False
        if type(a) is str or type(a) is bytes:
            return bool(a == b)
        return self._alike(a, b, [NODES] if left is None else left, ())

    def _alike(self, a: Any, b: Any, budget: list[int], above: tuple[tuple[int, int], ...]) -> bool:
        """The same of parts: side by side, so that the first difference ends it."""
        budget[0] -= 1
        if a is b:
            return True
        cls = type(a)
        if cls is not type(b) or budget[0] <= 0:
            return False
        if id(cls) in _SIMPLE:
            return _atom(a, whole=True) == _atom(b, whole=True)
        if (id(a), id(b)) in above or len(above) > DEEP:
            return True
        above = (*above, (id(a), id(b)))
        info = self._table.info(cls)
        left, right = self._side(a, info), self._side(b, info)
        if type(left) is dict and type(right) is dict:
            return len(left) == len(right) and all(
                name in right and self._alike(value, right[name], budget, above)
                for name, value in left.items()
            )
        if type(left) is list and type(right) is list:
            return len(left) == len(right) and all(
                self._alike(x, y, budget, above) for x, y in zip(left, right, strict=True)
            )
        budget_a, budget_b = [budget[0]], [budget[0]]
        same = self._hash(a, budget_a, (), True) == self._hash(b, budget_b, (), True)
        budget[0] = min(budget_a[0], budget_b[0])
        return same and budget[0] > 0

    def _side(self, value: Any, info: TypeInfo) -> dict[str, Any] | list[Any] | None:
        """The parts of a value, by name or by place; ``None`` if it is compared by its hash."""
        if info.kind not in _SIDE_BY_SIDE or not (info.exact or info.kind is Kind.INSTANCE):
            return None
        values, keys = self.parts(value, info) or ([], None)
        if keys is None:
            return values
        return dict(zip(keys, values, strict=True)) if all(type(key) is str for key in keys) else None

    def _mark(self, value: Any) -> bytes | None:
        """What tells the content of an array, or of the array that a stand-in stands for."""
        if type(value) is StandIn:
            return value.mark
        return content_mark(value) if self._table.info(type(value)).tender else None

    def _hash(self, value: Any, budget: list[int], above: tuple[int, ...], opaque_identity: bool) -> bytes:
        name = _SIMPLE.get(id(type(value)))
        if name is not None:  # the same in one go: nearly all that is hashed is of these types
            budget[0] -= 1
            return blake2b(name + (_atom(value, opaque_identity) or b""), digest_size=8).digest()
        state = blake2b(digest_size=8)
        self._feed(state, value, budget, above, opaque_identity)
        return state.digest()

    def _hash_once(self, value: Any, budget: list[int], known: Known) -> bytes:
        found = known.get(id(value))
        if found is not None and found[1] < budget[0]:
            budget[0] -= found[1]
            return found[0]
        before = budget[0]
        digest = self._hash(value, budget, (), opaque_identity=False)
        if budget[0] > 0:  # else not all of it is in there
            known[id(value)] = digest, before - budget[0]
        return digest

    def _feed(
        self, state: Any, value: Any, budget: list[int], above: tuple[int, ...], opaque_identity: bool
    ) -> None:
        budget[0] -= 1
        cls = type(value)
        state.update(f"{module_of(cls)}.{qualname(cls)}:".encode("utf-8", "backslashreplace"))
        if cls is StandIn:
            state.update(value.mark)
            return
        atom = _atom(value, whole=opaque_identity)
        if atom is not None:
            state.update(atom)
            if cls is not types.FunctionType or not value.__closure__:
                return
        if budget[0] <= 0:
            return
        if id(value) in above or len(above) > DEEP:
            state.update(b"<cycle>")
            return
        info = self._table.info(cls)
        if info.kind in (Kind.BUFFER, Kind.TICKER):
            state.update(_buffer_bytes(value))
            return
        parts = self.parts(value, info)
        if parts is None:
            if opaque_identity:
                state.update(str(id(value)).encode())
            return
        above = (*above, id(value))
        self._feed_parts(state, qualname(cls), parts[0], parts[1], budget, above, opaque_identity, info.kind)
        beside = self.attributes(value, info)
        if beside:
            names, values = list(beside), list(beside.values())
            self._feed_parts(state, "", values, names, budget, above, opaque_identity, Kind.DICT)

    def _feed_parts(
        self,
        state: Any,
        name: str,
        values: list[Any],
        keys: list[Any] | None,
        budget: list[int],
        above: tuple[int, ...],
        opaque_identity: bool,
        kind: Kind = Kind.LIST,
        gap: int = 0,
        known: Known | None = None,
    ) -> None:
        n = len(values)
        state.update(f"{name}#{n + gap}".encode("utf-8", "backslashreplace"))
        if opaque_identity and n > ITEMS and n > budget[0]:
            budget[0] = 0
            return
        picked: Iterable[int] = range(n)
        if n + gap > ITEMS and not opaque_identity:
            half = (ITEMS if n + gap <= HUGE else FEW) // 2
            picked = [*range(half), *range(n - half, n)]
        each = []
        for i in picked:
            part = b"" if keys is None else self._hash(keys[i], budget, above, opaque_identity)
            if known is None:
                each.append(part + self._hash(values[i], budget, above, opaque_identity))
            else:
                each.append(part + self._hash_once(values[i], budget, known))
        if kind in (Kind.DICT, Kind.SET, Kind.FROZENSET, Kind.INSTANCE) or (
            keys is not None and kind != Kind.ORDERED
        ):
            each.sort()
        for digest in each:
            state.update(digest)

    def attributes(self, value: Any, info: TypeInfo | None = None) -> dict[str, Any]:
        """What an instance of a subclass of a container holds beside its elements."""
        info = info or self._table.info(type(value))
        if info.exact or info.kind in (Kind.INSTANCE, Kind.LOCAL):
            return {}
        found = dict(own_dict(info, value) or {})
        for name, get in info.slots:
            try:
                found[name] = get(value)
            except AttributeError:
                continue
        return found

    def parts(self, value: Any, info: TypeInfo | None = None) -> tuple[list[Any], list[Any] | None] | None:
        """The values and keys of a container or instance, or ``None`` for what cannot be looked into."""
        info = info or self._table.info(type(value))
        kind = info.kind
        if kind in (Kind.DICT, Kind.ORDERED):
            items = settled(lambda: list(dict.items(value)))
            return [v for _, v in items], [k for k, _ in items]
        if kind is Kind.LIST:
            return list.copy(value), None
        if kind is Kind.DEQUE:
            return settled(lambda: list(deque.__iter__(value))), None
        if kind is Kind.TUPLE:
            return list(tuple.__iter__(value)), None
        if kind is Kind.SET:
            return settled(lambda: list(set.__iter__(value))), None
        if kind is Kind.FROZENSET:
            return list(frozenset.__iter__(value)), None
        if kind is Kind.CELL or type(value) is functools.partial:
            return referents(value), None
        if kind is Kind.FUNCTION:
            return list(value.__closure__ or ()), None
        if type(value) is types.MethodType:
            return [value.__self__, value.__func__], None
        if kind is Kind.INSTANCE:
            own = own_dict(info, value) or {}
            items = settled(lambda: list(dict.items(own)))
            for name, get in info.slots:
                try:
                    items.append((name, get(value)))
                except AttributeError:
                    continue
            if info.only is not None:
                items = [(k, v) for k, v in items if k in info.only]
            return [v for _, v in items], [k for k, _ in items]
        return None

    # -- previews --------------------------------------------------------------------------------

    def preview(self, value: Any) -> str:
        """A value in a few words: type and size; the value itself only if the guard shows values."""
        cls = type(value)
        if value is None or value is True or value is False:
            return str(value)
        if self._show:
            shown = self._shown(value, 3)
            return shown if len(shown) <= 200 else shown[:197] + "..."
        if cls is str:
            return f"str of {_count(len(value), 'character')}"
        if cls is bytes or cls is bytearray:
            return f"{cls.__name__} of {_count(len(value), 'byte')}"
        if id(cls) in _NUMBERS:
            return cls.__name__
        return self.outline(value)

    def outline(self, value: Any) -> str:
        """Type and size of a container, type of anything else."""
        cls = type(value)
        if cls is StandIn:
            return f"{value.name} object"
        name = qualname(cls)
        info = self._table.info(cls)
        if cls is types.FunctionType:
            return f"function {value.__qualname__}"
        if info.kind is Kind.CLASS:
            return f"class {qualname(value)}"
        if info.kind in (Kind.INSTANCE, Kind.CELL, Kind.THROUGH):
            return f"{name} object"
        parts = self.parts(value, info)
        if parts is None:
            return f"{name} object"
        return size_words(name, len(parts[0]), parts[1] is not None)

    def _shown(self, value: Any, depth: int) -> str:
        atom = type(value)
        if atom is str or atom is bytes:
            if looks_like_credential(value):
                return HIDDEN
            return repr(value[:80]) + ("..." if len(value) > 80 else "")
        if atom is int and value.bit_length() > 256:
            return f"{hex(value)[:77]}..."  # in decimal, it takes long, and is forbidden from 4,300 digits on
        if value is None or atom is bool or id(atom) in _NUMBERS:
            return repr(value)[:80]
        info = self._table.info(atom)
        opaque = not depth or info.kind is Kind.FUNCTION or info.kind is Kind.THROUGH
        parts = None if opaque else self.parts(value, info)
        if parts is None:
            return f"<{self.outline(value)}>"
        values, keys = parts
        if keys is None:
            inner = ", ".join(self._shown(v, depth - 1) for v in values[:8])
        else:
            inner = ", ".join(
                f"{self._shown(k, 0)}: {HIDDEN if is_secret_name(k) else self._shown(v, depth - 1)}"
                for k, v in zip(keys[:8], values[:8], strict=True)
            )
        more = f", ... {len(values) - 8} more" if len(values) > 8 else ""
        left, right = _BRACKETS.get(info.kind, (f"{qualname(atom)}(", ")"))
        return f"{left}{inner}{more}{right}"


_BRACKETS = {Kind.LIST: ("[", "]"), Kind.DICT: ("{", "}"), Kind.SET: ("{", "}"), Kind.TUPLE: ("(", ")")}


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def size_words(name: str, n: int, keyed: bool) -> str:
    """``list of 3 items``, ``dict of 1 key``."""
    return f"{name} of {_count(n, 'key' if keyed else 'item')}"


def _atom(value: Any, whole: bool = False) -> bytes | None:
    cls = type(value)
    if cls is str or cls is bytes:
        data: bytes = value.encode("utf-8", "surrogatepass") if cls is str else value
        if not whole and len(data) > TEXT:
            data = data[: TEXT // 2] + data[-TEXT // 2 :]
        return f"{len(value)}:".encode() + data
    if value is None or cls is bool:
        return str(value).encode()
    if cls is int:
        return hex(value).encode()
    if id(cls) in _NUMBERS:
        return repr(value).encode()
    if cls is types.FunctionType:
        module = value.__module__ if type(value.__module__) is str else ""  # anything may be put there
        name = f"{module}.{value.__qualname__}"
        return name.encode("utf-8", "backslashreplace")
    return None


def _buffer_bytes(value: Any) -> bytes:
    if is_a(value, bytearray):
        data = bytes(bytearray.__getitem__(value, slice(None)))
    elif is_a(value, io.BytesIO) or is_a(value, io.StringIO):
        data = repr(recent(value)).encode("utf-8", "backslashreplace")
    elif not is_a(value, itertools.count):
        base: Any = next(c for c in mro(type(value)) if module_of(c) in ("array", "numpy"))
        data = base.tobytes(value)
    else:
        data = repr(fingerprint(value)).encode()
    return f"{len(data)}:".encode() + data
