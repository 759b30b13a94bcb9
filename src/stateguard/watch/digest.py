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
from stateguard.watch.alike import alike
from stateguard.watch.atoms import atom
from stateguard.watch.canonical import TEXT as TEXTS
from stateguard.watch.canonical import canonical
from stateguard.watch.content import fingerprint, own_dict, recent, referents, settled
from stateguard.watch.kinds import Kind, TypeInfo, TypeTable, is_a, module_of, mro, qualname
from stateguard.watch.standin import StandIn, content_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

ITEMS = 256
"""Elements of one container that go into a hash: half from its beginning, half from its end."""

HUGE = 32_768
"""Elements of a container beyond which :data:`FEW` of them go into a hash."""

FEW = 32
"""Few enough for a leak that grows to be told of in each request."""

NODES = 16_384
"""Values in all that are compared for one change, to tell what is equal to what it replaces."""

HASHED = 4096
"""Values in all that go into one hash."""

PARTLY = "~"
"""Behind a hash that not all of a value has gone into."""

COMPARED, READ = 4, 32
"""For how many values an object counts that has to be compared, or to be read, part by part: as much longer
does it take."""

DEEP = 60
"""Levels below which values are not looked into."""

TEXT = 1 << 16
"""Characters or bytes of one string that go into a hash, besides its length."""

SIZE = 8
"""Bytes of a hash."""

SHORT = 64
"""Bytes up to which what has nothing else in it goes into a hash as it is; else its own hash does."""

Known = dict[int, tuple[bytes, int]]
"""What stands for the parts of a container, by identity, and how many values each is of: for the two hashes
of one change, between which nothing runs."""

_NUMBERS = frozenset(map(id, (int, float, complex)))
"""By identity: a metaclass may define ``__eq__``."""

_PLAIN = frozenset(map(id, (str, bytes, int, float, bool, type(None), list, tuple, dict)))
"""The types of which values, if there is nothing else in them, are hashed in one go."""

_SETS = (Kind.SET, Kind.FROZENSET)

_SAMPLED, _WHOLE = (ITEMS, TEXT), (0, 0)


class Digester:
    """Hashes and previews for one watch."""

    def __init__(self, table: TypeTable, show_values: bool = False) -> None:
        self._table = table
        self._show = show_values

    # -- hashing ---------------------------------------------------------------------------------

    def digest(self, value: Any) -> str:
        """A short stable hash of a value's content: 12 hexadecimal digits.

        :data:`PARTLY` is behind them if not all of it is in there: then equal hashes do not say that it is
        equal.
        """
        budget = [HASHED]
        return _said(self._hash(value, budget, (), opaque_identity=False), budget)

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
        state, budget = blake2b(digest_size=SIZE), [HASHED]
        self._feed_parts(state, name, values, keys, budget, (), False, kind, gap, known)
        return _said(state.digest(), budget)

    def mark(self, value: Any, left: list[int]) -> bytes | None:
        """What tells a value's content, objects that cannot be looked into counting by identity; ``None`` if
        it has more than ``left`` parts, which learns.
        """
        mark = self._hash(value, left, (), opaque_identity=True)
        return mark if left[0] > 0 else None

    def same(self, a: Any, b: Any, left: list[int] | None = None) -> bool:
        """Whether two values have equal content, objects that cannot be looked into counting by identity.

        Exact for values of up to :data:`NODES` parts, of which an object counts for :data:`COMPARED` beside
        its own; larger ones are never called equal. ``left`` is how many parts may be compared, and learns:
        for many values at once.
        """
        if a is b:
            return True
        if type(a) is StandIn or type(b) is StandIn:
            return self._mark(a) == self._mark(b)
        return self._alike(a, b, [NODES] if left is None else left, ())

    def _alike(self, a: Any, b: Any, left: list[int], above: tuple[tuple[int, int], ...]) -> bool:
        pairs, left[0] = alike(a, b, left[0], DEEP)
        if pairs is None:
            return False
        each = iter(pairs)
        return all(self._alike_inside(x, y, left, above) for x, y in zip(each, each, strict=True))

    def _alike_inside(self, a: Any, b: Any, left: list[int], above: tuple[tuple[int, int], ...]) -> bool:
        """The same of two objects of a type that is not compared part by part there."""
        left[0] -= COMPARED
        if left[0] <= 0:
            return False
        if (id(a), id(b)) in above or len(above) > DEEP:
            return True
        info = self._table.info(type(a))
        these, those = self._side(a, info), self._side(b, info)
        if these is not None and those is not None:
            return self._alike(these, those, left, (*above, (id(a), id(b))))
        other = [left[0]]
        same = self.mark(a, left) == self.mark(b, other)
        left[0] = min(left[0], other[0])
        return same and left[0] > 0

    def _side(self, value: Any, info: TypeInfo) -> dict[str, Any] | list[Any] | None:
        """The parts of a value, by name or by place; ``None`` if it is compared by its hash."""
        own = _attributes_in_place(value, info)
        if own is not None:
            return own
        if info.kind is not Kind.INSTANCE and not (info.kind is Kind.DEQUE and info.exact):
            return None
        values, keys = self.parts(value, info) or ([], None)
        if keys is None:
            return [*values, value.maxlen]
        return dict(zip(keys, values, strict=True)) if all(type(key) is str for key in keys) else None

    def _mark(self, value: Any) -> bytes | None:
        """What tells the content of an array, or of the array that a stand-in stands for."""
        if type(value) is StandIn:
            return value.mark
        return content_mark(value) if self._table.info(type(value)).tender else None

    def _hash(self, value: Any, budget: list[int], above: tuple[int, ...], opaque_identity: bool) -> bytes:
        part = self._part(value, budget, above, opaque_identity)
        return part if len(part) == SIZE else blake2b(part, digest_size=SIZE).digest()

    def _part(self, value: Any, budget: list[int], above: tuple[int, ...], opaque_identity: bool) -> bytes:
        """What stands for a value in the hash of what holds it: :data:`SIZE` bytes, or itself."""
        if id(type(value)) in _PLAIN:  # nearly all that is hashed
            plain = _plain(value, budget, above, opaque_identity)
            if plain is not None:
                short = len(plain) <= SHORT and len(plain) != SIZE
                return plain if short else blake2b(plain, digest_size=SIZE).digest()
        state = blake2b(digest_size=SIZE)
        self._feed(state, value, budget, above, opaque_identity)
        return state.digest()

    def _part_once(self, value: Any, budget: list[int], known: Known) -> bytes:
        found = known.get(id(value))
        if found is not None and found[1] < budget[0]:
            budget[0] -= found[1]
            return found[0]
        before = budget[0]
        part = self._part(value, budget, (), opaque_identity=False)
        if budget[0] > 0:  # else not all of it is in there
            known[id(value)] = part, before - budget[0]
        return part

    def _feed(
        self, state: Any, value: Any, budget: list[int], above: tuple[int, ...], opaque_identity: bool
    ) -> None:
        cls = type(value)
        state.update(f"{module_of(cls)}.{qualname(cls)}:".encode("utf-8", "backslashreplace"))
        if cls is StandIn:
            budget[0] -= 1
            state.update(value.mark)
            return
        known = atom(value)
        if known is not None:
            state.update(known)
            if cls is not types.FunctionType or not value.__closure__:
                budget[0] -= 1 + len(known) // TEXTS
                return
        info = self._table.info(cls)
        budget[0] -= 1 if info.kind is Kind.LEAF else COMPARED if opaque_identity else READ
        if budget[0] <= 0:
            return
        if id(value) in above or len(above) > DEEP:
            state.update(b"<cycle>")
            return
        if info.kind in (Kind.BUFFER, Kind.TICKER):
            state.update(_buffer_bytes(value))
            return
        above = (*above, id(value))
        own = _attributes_in_place(value, info)
        if own is not None:
            self._feed_attributes(state, own, budget, above, opaque_identity)
            return
        parts = self.parts(value, info)
        if parts is None:
            if opaque_identity:
                state.update(str(id(value)).encode())
            return
        self._feed_parts(state, qualname(cls), parts[0], parts[1], budget, above, opaque_identity, info.kind)
        beside = self.attributes(value, info)
        if beside:
            names, values = list(beside), list(beside.values())
            self._feed_parts(state, "", values, names, budget, above, opaque_identity, Kind.DICT)

    def _feed_attributes(
        self,
        state: Any,
        own: dict[str, Any],
        budget: list[int],
        above: tuple[int, ...],
        opaque_identity: bool,
    ) -> None:
        """The same as of all parts, in two thirds of the time, for nearly all objects."""
        plain = _plain(own, budget, above, opaque_identity)
        if plain is not None:
            state.update(plain)
            return
        own = dict.copy(own)
        if len(own) > ITEMS or not all(type(name) is str for name in own):
            self._feed_parts(
                state, "", list(own.values()), list(own), budget, above, opaque_identity, Kind.DICT
            )
            return
        each = [
            name.encode("utf-8", "surrogatepass") + b"=" + self._part(part, budget, above, opaque_identity)
            for name, part in own.items()
        ]
        each.sort()
        state.update(b"%d:%b" % (len(each), b",".join(each)))

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
        picked: Sequence[int] = range(n)
        if n + gap > ITEMS and not opaque_identity:
            half = (ITEMS if n + gap <= HUGE else FEW) // 2
            picked = [*range(half), *range(n - half, n)]
        each = []
        # Of what has no order as much of each goes in: it must not depend on what comes first.
        share = budget[0] // max(len(picked), 1) + 1 if kind in _SETS else None
        left = budget[0]
        for i in picked:
            if share is not None:
                budget[0] = share
            part = b"" if keys is None else self._part(keys[i], budget, above, opaque_identity)
            if known is None:
                each.append(part + self._part(values[i], budget, above, opaque_identity))
            else:
                each.append(part + self._part_once(values[i], budget, known))
            if share is not None:
                left = left - share + budget[0] if budget[0] > 0 else -NODES
            elif budget[0] <= 0:
                break
        if share is not None:
            budget[0] = max(left, 0)
        if kind in (Kind.DICT, Kind.INSTANCE, *_SETS) or (keys is not None and kind != Kind.ORDERED):
            each.sort()
        for digest in each:
            state.update(digest)

    def attributes(self, value: Any, info: TypeInfo | None = None) -> dict[str, Any]:
        """What an instance of a subclass of a container holds beside its elements."""
        info = info or self._table.info(type(value))
        if info.exact or info.kind in (Kind.INSTANCE, Kind.LOCAL):
            return {}
        own = own_dict(info, value)
        found = {} if own is None else dict(settled(lambda: list(dict.items(own))))
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
            own = own_dict(info, value)
            items = [] if own is None else settled(lambda: list(dict.items(own)))
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


def _plain(value: Any, budget: list[int], above: tuple[int, ...], whole: bool) -> bytes | None:
    """What has nothing else in it, as bytes."""
    plain, budget[0] = canonical(value, budget[0], DEEP - len(above), *(_WHOLE if whole else _SAMPLED))
    return plain


def _said(digest: bytes, budget: list[int]) -> str:
    return digest.hex()[:12] + (PARTLY if budget[0] <= 0 else "")


def _attributes_in_place(value: Any, info: TypeInfo) -> dict[str, Any] | None:
    """The dictionary of an instance, if that is all there is of it to look at."""
    if info.kind is not Kind.INSTANCE or info.slots or info.only is not None:
        return None
    own = own_dict(info, value)
    return own if type(own) is dict else None


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
