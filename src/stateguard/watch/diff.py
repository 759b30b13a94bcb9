"""Describe how a node differs from what it held before: as the changes a person would name.

Elements are matched by identity first; a value replaced by one of equal content is no change.
"""

from __future__ import annotations

import types
import weakref
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from stateguard.watch.compare import common_prefix, common_suffix, identical, is_subsequence
from stateguard.watch.content import differing, recent
from stateguard.watch.digest import NODES, size_words
from stateguard.watch.edges import Anchor, is_dunder
from stateguard.watch.graph import Difference
from stateguard.watch.kinds import Kind, is_a, qualname

if TYPE_CHECKING:
    from collections.abc import Container

    from stateguard.watch.content import Content
    from stateguard.watch.digest import Digester, Known
    from stateguard.watch.paths import Paths

MANY = 12
"""More entries of one node than this are summed up in one change."""

ELEMENT = 16
"""Values that each element of a set may have to be compared, however many there are."""

SHIFTS = 8
"""Places at which the beginning of a shifted sequence is looked for."""

ABSENT = "absent"


class RawChange:
    """A change while its objects are still at hand; the guard turns it into a plain record.

    ``kind`` is one of ``appended``, ``inserted``, ``added``, ``removed``, ``cleared``, ``replaced``,
    ``reordered``, ``rebound``, ``defined``, ``deleted``, ``attribute set``, ``attribute added``,
    ``attribute deleted``, ``buffer changed``, ``left behind`` and ``setting changed``. ``before`` and
    ``after`` are previews, redacted unless the guard shows values; the hashes are stable across processes.
    """

    __slots__ = (
        "after",
        "after_hash",
        "before",
        "before_hash",
        "came",
        "entry",
        "key",
        "kind",
        "new",
        "old",
        "suffix",
        "went",
    )

    def __init__(
        self,
        suffix: str,
        kind: str,
        before: str,
        after: str,
        before_hash: str = "",
        after_hash: str = "",
        old: Any = None,
        new: Any = None,
        key: Any = None,
        came: list[Any] | None = None,
        went: list[Any] | None = None,
        entry: bool = False,
    ) -> None:
        self.suffix = suffix
        self.kind = kind
        self.before = before
        self.after = after
        self.before_hash = before_hash
        self.after_hash = after_hash
        self.old = old
        self.new = new
        self.key = key
        self.came: list[Any] = [] if came is None else came
        self.went: list[Any] = [] if went is None else went
        self.entry = entry
        """One entry of a mapping (``key`` says which), or one attribute."""


_ABSENT = object()

_ATOMS = frozenset(map(id, (str, bytes, int, float, bool)))
"""By identity: a metaclass may define ``__eq__``."""


def _shifted(a: list[Any], b: list[Any]) -> int:
    """How many elements from the end of ``a`` begin ``b``, if the rest of ``b`` is new; else 0."""
    places = [i for i, x in enumerate(a) if x is b[0]][:SHIFTS]
    for i in places:
        kept = len(a) - i
        if i and kept < len(b) and identical(a[i:], b[:kept]):
            gone = set(map(id, a[:i]))
            return 0 if any(id(x) in gone for x in b[kept:]) else kept
    return 0


def _is_dead(value: Any) -> bool:
    return is_a(value, weakref.ref) and weakref.ref.__call__(value) is None


def _canonical(key: Any, depth: int = 4) -> Any:
    """A key that compares as the mapping would, for atoms; by identity for anything else."""
    if id(type(key)) in _ATOMS or key is None:
        return type(key), key
    if type(key) is tuple and depth:
        return tuple(_canonical(part, depth - 1) for part in key)
    return id(key)


class _Table:
    """The entries of a mapping by what tells their keys apart. ``names``: the keys are all strings.

    No object for each: thousands of new ones make the garbage collector look at all that is young.
    """

    __slots__ = ("_keys", "values")

    def __init__(self, content: Content, names: bool) -> None:
        keys = content.keys or []
        marks = keys if names else list(map(_canonical, keys))
        self.values: dict[Any, Any] = dict(zip(marks, content.values, strict=False))
        self._keys = None if names else dict(zip(marks, keys, strict=False))

    def key(self, mark: Any) -> Any:
        """The key that ``mark`` stands for."""
        return mark if self._keys is None else self._keys[mark]


class _Entries:
    """What has become of the entries of a mapping: one by one, as long as they are not many."""

    def __init__(self) -> None:
        self.few: list[tuple[str, Any, Any, Any]] = []
        self.kinds: set[str] = set()
        self._count = 0

    def add(self, kind: str, key: Any, old: Any, new: Any) -> None:
        self.kinds.add(kind)
        self._count += 1
        if self._count <= MANY:
            self.few.append((kind, key, old, new))

    @property
    def many(self) -> bool:
        """Whether they are too many to be told one by one."""
        return self._count > MANY

    @property
    def over(self) -> bool:
        """Whether more of them would not make a difference."""
        return self.many and len(self.kinds) > 1


class Describer:
    """Turns differences into changes for one watch."""

    def __init__(self, digester: Digester, paths: Paths) -> None:
        self._digester = digester
        self._paths = paths
        self._left = [0]
        """How many values may still be compared for the change that is being described."""

    def describe(self, difference: Difference) -> list[RawChange]:
        """The changes of one node; none when what differs is not content."""
        self._left = [NODES]
        info, before, after = difference.info, difference.before, difference.after
        kind = info.kind
        if kind is Kind.CACHE:
            return []
        changes: list[RawChange] = []
        if kind in (Kind.DICT, Kind.ORDERED):
            changes = self._mapping(difference)
        elif kind in (Kind.LIST, Kind.DEQUE):
            changes = self._sequence(qualname(info.cls), before.values, after.values, before.gap)
        elif kind is Kind.SET:
            changes = self._set(qualname(info.cls), before, after)
        elif kind is Kind.CELL:
            old = before.values[0] if before.values else None
            new = after.values[0] if after.values else None
            if not self._same(old, new):
                changes = [self._value("", "rebound", old, new)]
        elif kind is Kind.FUNCTION:
            changes = self._function(before, after)
        elif kind is Kind.BUFFER:
            size = self._digester.outline(difference.node)
            changes = [
                RawChange("", "buffer changed", size, size, str(before.fingerprint), str(after.fingerprint))
            ]
            changes[0].before_hash = self._digester.digest(str(before.fingerprint))
            changes[0].after_hash = self._digester.digest(difference.node)
            written = recent(difference.node)
            changes[0].came = [] if written is None else [written]
        elif kind is Kind.TICKER:
            changes = [
                RawChange("", "advanced", str(before.fingerprint), str(after.fingerprint), old=0, new=1)
            ]
        elif kind is Kind.GENERATOR:
            known = set(map(id, before.values))
            outline = self._digester.outline(difference.node)
            changes = [RawChange("", "advanced", outline, outline)]
            changes[0].came = [value for value in after.values if id(value) not in known]
        if kind is Kind.INSTANCE and type(difference.node) is not info.cls:
            changes = [
                self._value(".__class__", "attribute set", info.cls, type(difference.node), "__class__")
            ]
        if before.slots is not None or before.own is not None or after.own is not None:
            changes.extend(self._attributes(difference))
        return changes

    def _same(self, a: Any, b: Any) -> bool:
        return self._digester.same(a, b, self._left)

    # -- parts -----------------------------------------------------------------------------------

    def _value(self, suffix: str, kind: str, old: Any, new: Any, key: Any = None) -> RawChange:
        digester = self._digester
        return RawChange(
            suffix,
            kind,
            digester.preview(old),
            digester.preview(new),
            digester.digest(old),
            digester.digest(new),
            old=old,
            new=new,
            key=key,
            came=[new],
            went=[old],
            entry=True,
        )

    def _came(self, suffix: str, kind: str, new: Any, key: Any) -> RawChange:
        digester = self._digester
        return RawChange(
            suffix,
            kind,
            ABSENT,
            digester.preview(new),
            "",
            digester.digest(new),
            None,
            new,
            key,
            [new],
            entry=True,
        )

    def _went(self, suffix: str, kind: str, old: Any, key: Any) -> RawChange:
        digester = self._digester
        return RawChange(
            suffix,
            kind,
            digester.preview(old),
            ABSENT,
            digester.digest(old),
            "",
            old,
            None,
            key,
            [],
            [old],
            True,
        )

    def _sequence(self, name: str, a: list[Any], b: list[Any], gap: int = 0) -> list[RawChange]:
        start = common_prefix(a, b)
        end = common_suffix(a, b, min(len(a), len(b)) - start)
        old, new = a[start : len(a) - end], b[start : len(b) - end]
        if not old and not new:
            return []
        digester = self._digester
        if not b:
            kind = "cleared"
        elif not old:
            kind = "appended" if end == 0 else "inserted"
        elif not new:
            kind = "removed"
        elif len(new) < len(old) and is_subsequence(new, old):
            kind, left = "removed", set(map(id, new))
            old, new = [x for x in old if id(x) not in left], []
        elif len(old) < len(new) and is_subsequence(old, new):
            kind, left = "inserted", set(map(id, old))
            old, new = [], [x for x in new if id(x) not in left]
        elif (kept := _shifted(a, b)) > 0:
            kind, old, new = "appended", a[: len(a) - kept], b[kept:]  # a window: as much has left in front
        elif len(old) == len(new):
            if Counter(map(id, old)) == Counter(map(id, new)):
                if all(map(self._same, old, new)):
                    return []
                kind = "reordered"
            else:
                pairs = [
                    (i, x, y)
                    for i, (x, y) in enumerate(zip(old, new, strict=True), start)
                    if x is not y and not self._same(x, y)
                ]
                if not pairs:
                    return []
                if len(pairs) <= MANY:
                    return [self._value(f"[{i}]", "replaced", x, y, key=i) for i, x, y in pairs]
                kind = "replaced"
        else:
            if len(a) == len(b) and all(map(self._same, a, b)):
                return []
            kind = "replaced"
        after = size_words(name, len(b) + gap, keyed=False)
        if kind in ("appended", "inserted") and len(new) <= 3:
            after += f" (new: {', '.join(map(digester.preview, new))})"
        before = size_words(name, len(a) + gap, keyed=False)
        if kind == "removed" and len(old) <= 3:
            before += f" (gone: {', '.join(map(digester.preview, old))})"
        known: Known = {}
        return [
            RawChange(
                "",
                kind,
                before,
                after,
                digester.digest_parts(name, a, gap=gap, known=known),
                digester.digest_parts(name, b, gap=gap, known=known),
                came=new,
                went=old,
            )
        ]

    def _set(self, name: str, before: Content, after: Content) -> list[RawChange]:
        a, b = before.values, after.values
        left, right = differing(before, after)
        old_ids, new_ids = set(map(id, left.values)), set(map(id, right.values))
        went = [x for x in left.values if id(x) not in new_ids and not _is_dead(x)]
        came = [x for x in right.values if id(x) not in old_ids]
        if went and came and self._all_alike(went, came):
            return []
        if not went and not came:
            return []
        kind = "added" if not went else "cleared" if not b else "removed" if not came else "replaced"
        was, now = size_words(name, len(a), keyed=False), size_words(name, len(b), keyed=False)
        if came and len(came) <= 3:
            now += f" (new: {', '.join(map(self._digester.preview, came))})"
        return [
            RawChange(
                "",
                kind,
                was,
                now,
                self._set_digest(name, a),
                self._set_digest(name, b),
                came=came,
                went=went,
            )
        ]

    def _all_alike(self, went: list[Any], came: list[Any]) -> bool:
        """Whether every one has been replaced by an equal one."""
        if len(went) != len(came):
            return False
        most, mark = max(NODES, ELEMENT * len(went)), self._digester.mark
        left, right = [most], [most]
        gone = [mark(one, left) for one in went]
        return None not in gone and Counter(gone) == Counter(mark(one, right) for one in came)

    def _set_digest(self, name: str, values: list[Any]) -> str:
        return self._digester.digest_parts(name, values, kind=Kind.SET)

    def _mapping(self, difference: Difference) -> list[RawChange]:
        node, info = difference.node, difference.info
        names = self._paths.is_namespace(node)
        before, after = difference.before, difference.after
        if not names:
            before, after = differing(before, after)
            if not before.values and info.only is None and len(set(map(id, after.keys or ()))) > MANY:
                return [self._whole(difference, "added")]
        plain = all(type(key) is str for key in (*(before.keys or ()), *(after.keys or ())))
        was, now = _Table(before, plain), _Table(after, plain)
        a, b = was.values, now.values
        module = (
            names
            and type(self._paths.parent(node)) is Anchor
            and ("__name__" if plain else (str, "__name__")) in b
        )
        words = _MODULE_WORDS if module else _ATTRIBUTE_WORDS if names else _ENTRY_WORDS
        if a and not difference.after.values and not names:
            return [self._whole(difference, "cleared")]
        entries = _Entries()
        for mark, new in b.items():
            key = now.key(mark)
            # Importing a submodule binds it in its package: not a write that request code made.
            if self._skip(info.only, names, key) or (module and type(new) is types.ModuleType):
                continue
            old = a.get(mark, _ABSENT)
            if old is _ABSENT:
                entries.add(words[0], key, None, new)
            elif old is not new and not (entries.over or self._same(old, new)):
                entries.add(words[1], key, old, new)
        for mark, old in a.items():
            if entries.over:
                break
            key = was.key(mark)
            if not (mark in b or self._skip(info.only, names, key) or _is_dead(old) or _is_dead(key)):
                entries.add(words[2], key, old, None)
        if entries.many:
            return [self._whole(difference, "replaced" if entries.over else entries.kinds.pop())]
        changes = []
        for kind, key, old, new in entries.few:
            suffix = self._paths.item(node, key)
            if kind == words[0]:
                changes.append(self._came(suffix, kind, new, key))
            elif kind == words[1]:
                changes.append(self._value(suffix, kind, old, new, key))
            else:
                changes.append(self._went(suffix, kind, old, key))
        if not changes and not names and len(a) == len(b):
            # What has been left out lies before each entry as often as it did, unless the entry has moved.
            ranks = dict(zip(a, before.ranks, strict=False))
            others = zip(b, after.ranks, strict=False)
            if list(a) != list(b) or any(ranks.get(mark, rank) != rank for mark, rank in others):
                return [self._whole(difference, "reordered")]
        return changes

    @staticmethod
    def _skip(only: Container[str] | None, names: bool, key: Any) -> bool:
        return (names and is_dunder(key)) or (only is not None and key not in only)

    def _whole(self, difference: Difference, kind: str) -> RawChange:
        """One change for the whole mapping."""
        before, after = difference.before, difference.after
        name = qualname(difference.info.cls)
        old, new = differing(before, after)
        there = set(map(id, old.values))
        known: Known = {}
        digest = partial(self._digester.digest_parts, name, kind=difference.info.kind, known=known)
        return RawChange(
            "",
            kind,
            size_words(name, len(before.values) + before.gap, keyed=True),
            size_words(name, len(after.values) + after.gap, keyed=True),
            digest(before.values, before.keys, gap=before.gap),
            digest(after.values, after.keys, gap=after.gap),
            came=[value for value in new.values if id(value) not in there],
            went=old.values,
        )

    def _attributes(self, difference: Difference) -> list[RawChange]:
        before, after = difference.before, difference.after
        a, b = dict(before.slots or {}), dict(after.slots or {})
        if before.own is not after.own:
            a.update({} if before.own is None else dict(before.own))
            b.update({} if after.own is None else dict(after.own))
        only = difference.info.only
        changes = []
        for name, new in b.items():
            if is_dunder(name) or (only is not None and name not in only):
                continue
            if name not in a:
                changes.append(self._came(f".{name}", "attribute added", new, name))
            elif a[name] is not new and not self._same(a[name], new):
                changes.append(self._value(f".{name}", "attribute set", a[name], new, name))
        for name, old in a.items():
            if name not in b and not is_dunder(name) and (only is None or name in only):
                changes.append(self._went(f".{name}", "attribute deleted", old, name))
        return changes

    def _function(self, before: Content, after: Content) -> list[RawChange]:
        changes = []
        for name, old, new in zip(
            ("__defaults__", "__kwdefaults__", "__code__"), before.values, after.values, strict=False
        ):
            if old is not new and not self._same(old, new):
                changes.append(self._value(f".{name}", "rebound", old, new, name))
        return changes


_MODULE_WORDS = ("defined", "rebound", "deleted")
_ATTRIBUTE_WORDS = ("attribute added", "attribute set", "attribute deleted")
_ENTRY_WORDS = ("added", "replaced", "removed")
