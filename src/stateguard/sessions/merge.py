"""Three-way merge of what two overlapping requests made of one session.

Works on packed values (see :mod:`stateguard.sessions.codec`): ``base`` is what both requests loaded, ``mine``
what this one wants to save, ``theirs`` what the other one has saved meanwhile. The rules, first that fits:

- changed by one of them only: the changed value;
- mappings: key by key; sets: what each added and removed;
- lists: what each appended survives, theirs first, since it was acknowledged first; edits of items that both
  loaded are merged item by item; if one of them removed, inserted or moved items and the other one only
  appended, its list with what the other one appended; if the other one changed more, a conflict;
- whole numbers and ``Decimal``: counters, so what each added adds up; floats only as fields of the session
  itself (``cost``), because elsewhere they are usually measurements (a time of day, a temperature);
- the same new value set by both: that value, unless it is a number (two first increments look just like it);
- anything else is a conflict.

``rules`` decide single places otherwise, by path: ``{"metadata.last_seen": "max"}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from stateguard.errors import ConfigError

Rule = str | Callable[[Any, Any, Any], Any]
"""``"mine"``, ``"theirs"``, ``"max"``, ``"min"``, ``"add"``, ``"conflict"``, or ``fn(base, mine, theirs)``.

A function gets packed values, and :data:`MISSING` for what is not there.
"""


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


MISSING = _Missing()


class Conflict(Exception):
    """The paths at which both changed the same thing, each differently."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__(", ".join(paths))
        self.paths = paths


def check_rules(rules: Mapping[str, Rule]) -> None:
    """Raise :class:`ConfigError` for a rule that is neither a known word nor a function."""
    for path, rule in rules.items():
        if not callable(rule) and rule not in {"mine", "theirs", "max", "min", "add", "conflict"}:
            raise ConfigError(
                f"merge={{{path!r}: {rule!r}}}: use 'mine', 'theirs', 'max', 'min', 'add', 'conflict' or a "
                "function of (base, mine, theirs)"
            )


def three_way(base: Any, mine: Any, theirs: Any, rules: Mapping[str, Rule] | None = None) -> Any:
    """The merged value; raises :class:`Conflict` with every path that could not be merged."""
    merge = _Merge(rules or {})
    merged = merge.value(base, mine, theirs, ())
    if merge.conflicts:
        raise Conflict(merge.conflicts)
    return merged


class _Merge:
    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = rules
        self.conflicts: list[str] = []

    def conflict(self, path: tuple[str, ...], theirs: Any) -> Any:
        self.conflicts.append(".".join(path) or "the session")
        return theirs

    def value(self, base: Any, mine: Any, theirs: Any, path: tuple[str, ...]) -> Any:
        if same(mine, base):
            return theirs
        if same(theirs, base):
            return mine
        rule = self.rules.get(".".join(path)) if self.rules else None
        if rule is not None and rule != "add":
            return self.ruled(rule, base, mine, theirs, path)
        if isinstance(mine, dict) and isinstance(theirs, dict) and "$" not in mine and "$" not in theirs:
            return self.mapping(
                base if isinstance(base, dict) and "$" not in base else {}, mine, theirs, path
            )
        if isinstance(mine, list) and isinstance(theirs, list):
            return self.sequence(base if isinstance(base, list) else [], mine, theirs, path)
        tag = _tag(mine)
        if tag is not None and tag == _tag(theirs):
            return self.tagged(base, mine, theirs, path, rule)
        if _is_number(mine) and _is_number(theirs):
            is_counter = rule == "add" or len(path) == 1 or not _has_float(base, mine, theirs)
            if is_counter and (_is_number(base) or rule == "add"):
                return theirs + mine - (base if _is_number(base) else 0)
            return self.conflict(path, theirs)
        return theirs if same(mine, theirs) else self.conflict(path, theirs)

    def ruled(self, rule: Rule, base: Any, mine: Any, theirs: Any, path: tuple[str, ...]) -> Any:
        if callable(rule):
            return rule(base, mine, theirs)
        if rule == "conflict":
            return self.conflict(path, theirs)
        if rule in {"mine", "theirs"} or mine is MISSING or theirs is MISSING:
            return mine if rule == "mine" or theirs is MISSING else theirs
        chosen = max if rule == "max" else min
        return chosen(mine, theirs, key=_decimal) if _tag(mine) == "decimal" else chosen(mine, theirs)

    def mapping(
        self, base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any], path: tuple[str, ...]
    ) -> dict[str, Any]:
        merged = {}
        for key in [*theirs, *(key for key in mine if key not in theirs)]:
            value = self.value(
                base.get(key, MISSING), mine.get(key, MISSING), theirs.get(key, MISSING), (*path, key)
            )
            if value is not MISSING:
                merged[key] = value
        return merged

    def sequence(
        self, base: list[Any], mine: list[Any], theirs: list[Any], path: tuple[str, ...]
    ) -> list[Any]:
        size = len(base)
        mine_grew, theirs_grew = _starts_with(mine, base), _starts_with(theirs, base)
        if mine_grew:
            return [*theirs, *mine[size:]]
        # Edited in place and grown: the last shared item is where it was.
        is_aligned = len(mine) >= size and bool(base) and same(mine[size - 1], base[-1])
        if theirs_grew and (not is_aligned or _has_moved(mine, base)):
            return [*mine, *theirs[size:]]
        if _has_moved(mine, base) or _has_moved(theirs, base):
            self.conflict(path, theirs)
            return theirs
        edited = [
            self.value(base[index], mine[index], theirs[index], (*path, str(index))) for index in range(size)
        ]
        return [*edited, *theirs[size:], *mine[size:]]

    def tagged(self, base: Any, mine: Any, theirs: Any, path: tuple[str, ...], rule: Rule | None) -> Any:
        tag = mine["$"]
        known = _tag(base) == tag
        if tag == "decimal" and (known or rule == "add"):
            start = _decimal(base) if known else Decimal(0)
            return {"$": "decimal", "v": str(_decimal(theirs) + _decimal(mine) - start)}
        if tag in {"set", "frozenset"}:
            return {"$": tag, "v": _set_merge(base["v"] if known else [], mine["v"], theirs["v"])}
        if tag == "dataclass" and mine["n"] == theirs["n"]:
            start = base["v"] if known and base["n"] == mine["n"] else {}
            return {**theirs, "v": self.mapping(start, mine["v"], theirs["v"], path)}
        if tag == "dict":
            return self.pairs(base["v"] if known else [], mine["v"], theirs["v"], path)
        if same(mine, theirs) and tag != "decimal":
            return theirs
        return self.conflict(path, theirs)

    def pairs(
        self, base: list[Any], mine: list[Any], theirs: list[Any], path: tuple[str, ...]
    ) -> dict[str, Any]:
        """Dictionaries with keys that are not text, stored as pairs."""
        names = {repr(key): key for key, _ in [*theirs, *mine]}
        flat = [{repr(key): value for key, value in side} for side in (base, mine, theirs)]
        merged = self.mapping(flat[0], flat[1], flat[2], path)
        return {"$": "dict", "v": [[names[name], value] for name, value in merged.items()]}


def same(one: Any, other: Any) -> bool:
    """Equality of packed values that tells ``1`` from ``True`` and from ``1.0``."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or bool(one == other)


def _starts_with(items: list[Any], start: list[Any]) -> bool:
    return len(items) >= len(start) and all(map(same, items, start))


def _has_moved(items: list[Any], base: list[Any]) -> bool:
    """Whether items of ``base`` are at other places in ``items``, or gone, rather than edited in place."""
    if len(items) < len(base):
        return True
    edited = [index for index, (new, old) in enumerate(zip(items, base, strict=False)) if not same(new, old)]
    here = {json.dumps(item) for item in [*(items[index] for index in edited), *items[len(base) :]]}
    return any(json.dumps(base[index]) in here for index in edited)


def _set_merge(base: list[Any], mine: list[Any], theirs: list[Any]) -> list[Any]:
    def holds(side: list[Any], item: Any) -> bool:
        return any(same(item, other) for other in side)

    kept = [item for item in theirs if holds(mine, item) or not holds(base, item)]
    added = [item for item in mine if not holds(theirs, item) and not holds(base, item)]
    return [*kept, *added]


def _tag(value: Any) -> str | None:
    return value.get("$") if isinstance(value, dict) else None


def _decimal(value: Any) -> Decimal:
    return Decimal(value["v"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_float(*values: Any) -> bool:
    return any(isinstance(value, float) for value in values)
