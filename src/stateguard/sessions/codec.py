"""Sessions as JSON and back, with every value coming back as the type it was, or refused.

JSON's own types are stored as they are. ``Decimal``, dates, ``UUID``, ``bytes``, tuples, sets and
dictionaries with other keys than text are stored as ``{"$": kind, "v": value}``; a dictionary that has a key
``"$"`` itself is stored as pairs. Dataclasses and enums come back as what they were if the annotations of the
session class name them: classes are never imported by a name found in a record.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import json
import math
import typing
import uuid
import weakref
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar

from stateguard.errors import ConfigError, SessionNotStorable, SessionRecordError

T = TypeVar("T")

_TAG = "$"
_SIMPLE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Decimal: ("decimal", str),
    datetime.datetime: ("datetime", datetime.datetime.isoformat),
    datetime.date: ("date", datetime.date.isoformat),
    datetime.time: ("time", datetime.time.isoformat),
    datetime.timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    uuid.UUID: ("uuid", str),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode("ascii")),
    bytearray: ("bytearray", lambda value: base64.b64encode(value).decode("ascii")),
    complex: ("complex", lambda value: [value.real, value.imag]),
}
_RESTORE: dict[str, Callable[[Any], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(*value),
    "uuid": uuid.UUID,
    "bytes": lambda value: base64.b64decode(value, validate=True),
    "bytearray": lambda value: bytearray(base64.b64decode(value, validate=True)),
    "complex": lambda value: complex(*value),
    "float": float,
}


def dumps(value: Any) -> str:
    """Compact JSON text of an already packed value."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class SessionCodec(Generic[T]):
    """Packs and unpacks one kind of session: a dataclass, a pydantic model, a ``dict`` or a plain object.

    ``factory`` makes a fresh session, which gives the fields that an older record does not have yet. ``log``
    names the list that grows; a session without such a list has none.
    """

    def __init__(self, factory: Callable[[], T], log: str | None = "history") -> None:
        self.factory = factory
        self.log = log
        self._classes: Mapping[str, type] | None = None

    def pack(self, session: T) -> tuple[dict[str, Any], list[Any] | None]:
        """The session's fields as a JSON-ready mapping, and its log apart, not packed yet.

        Raises :class:`SessionNotStorable`, which names the place, for a value that would not come back.
        """
        fields = _read_fields(session)
        log = (
            fields.pop(self.log) if self.log is not None and isinstance(fields.get(self.log), list) else None
        )
        classes = self._known(session)
        return {name: _pack(value, name, classes) for name, value in fields.items()}, log

    def pack_item(self, item: Any, position: int, session: T) -> Any:
        """One item of the log, JSON-ready."""
        return _pack(item, f"{self.log}[{position}]", self._known(session))

    def unpack(
        self, head: Mapping[str, Any], log: list[Any], *, is_plain: bool = False
    ) -> tuple[T, dict[str, Any]]:
        """A session with these fields, and the fields it has no place for (kept, and saved again).

        ``is_plain`` says that no item of the log is tagged: a long history then costs nothing more.
        Raises :class:`SessionRecordError` when the record's values do not fit the session class.
        """
        session = self.factory()
        try:
            return session, self._fill(session, head, log, is_plain)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidOperation) as error:
            raise SessionRecordError(
                f"a stored record does not fit {type(session).__name__}: {error!r}. It was left as it is"
            ) from error

    def _fill(self, session: T, head: Mapping[str, Any], log: list[Any], is_plain: bool) -> dict[str, Any]:
        classes = self._known(session)
        values = {name: _unpack(value, classes) for name, value in head.items()}
        if self.log is not None and self.log not in values and (log or self.log in _read_fields(session)):
            values[self.log] = log if is_plain else [_unpack(item, classes) for item in log]
        if isinstance(session, dict):
            session.clear()
            session.update(values)
            return {}
        known = None if _is_open(session) else _read_fields(session).keys()
        unknown = {}
        for name, value in values.items():
            if known is None or name in known:
                setattr(session, name, value)
            else:
                unknown[name] = head.get(name)
        return unknown

    def _known(self, session: T) -> Mapping[str, type]:
        if self._classes is None:
            self._classes = {} if isinstance(session, dict) else _named_in(type(session))
        return self._classes


def _is_open(session: object) -> bool:
    """Whether attributes may be added: a plain object, neither a dataclass nor a pydantic model."""
    return not dataclasses.is_dataclass(session) and not hasattr(type(session), "model_fields")


def _read_fields(session: Any) -> dict[str, Any]:
    if isinstance(session, dict):
        for name in session:
            if not isinstance(name, str):
                raise SessionNotStorable(f"a session that is a dict needs text keys, not {name!r}")
        return dict(session)
    if dataclasses.is_dataclass(session):
        return {field.name: getattr(session, field.name) for field in dataclasses.fields(session)}
    model = getattr(type(session), "model_fields", None)
    if model is not None:
        return {name: getattr(session, name) for name in model}
    try:
        return dict(vars(session))
    except TypeError:
        raise ConfigError(
            f"session_factory makes a {type(session).__name__}, which has no fields to store: use a "
            "dataclass, a pydantic model, a dict or a plain class"
        ) from None


_known_classes: weakref.WeakKeyDictionary[type, Mapping[str, type]] = weakref.WeakKeyDictionary()


def _named_in(kind: type) -> Mapping[str, type]:
    """The classes that the annotations of ``kind`` name; read once, since that takes a third of a turn."""
    found = _known_classes.get(kind)
    if found is None:
        collected: dict[str, type] = {}
        _collect(kind, collected)
        found = _known_classes[kind] = collected
    return found


def _collect(annotation: Any, found: dict[str, type]) -> None:
    """The dataclasses and enums that an annotation names, at any depth, by their qualified name."""
    if isinstance(annotation, type) and annotation.__qualname__ not in found:
        is_dataclass = dataclasses.is_dataclass(annotation)
        if is_dataclass or issubclass(annotation, enum.Enum):
            found[annotation.__qualname__] = annotation
        if is_dataclass or hasattr(annotation, "__annotations__"):
            try:
                hints = typing.get_type_hints(annotation)
            except (NameError, TypeError):  # annotations that only a type checker can read
                return
            found.setdefault(annotation.__qualname__, annotation)
            for hint in hints.values():
                _collect(hint, found)
    for argument in typing.get_args(annotation):
        _collect(argument, found)


def _pack(value: Any, place: str, classes: Mapping[str, type]) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else {_TAG: "float", "v": repr(value)}
    if kind is list:
        return [_pack(item, f"{place}[{index}]", classes) for index, item in enumerate(list(value))]
    if isinstance(value, dict):
        return _pack_dict(value, place, classes)
    if kind is tuple:
        return {_TAG: "tuple", "v": _pack(list(value), place, classes)}
    if kind is set or kind is frozenset:
        items = [_pack(item, f"{place}{{...}}", classes) for item in list(value)]
        return {_TAG: kind.__name__, "v": sorted(items, key=dumps)}
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return {_TAG: simple[0], "v": simple[1](value)}
    if isinstance(value, enum.Enum) and classes.get(kind.__qualname__) is kind:
        return {_TAG: "enum", "n": kind.__qualname__, "v": value.name}
    if dataclasses.is_dataclass(value) and classes.get(kind.__qualname__) is kind:
        fields = {
            field.name: _pack(getattr(value, field.name), f"{place}.{field.name}", classes)
            for field in dataclasses.fields(value)
            if field.init
        }
        return {_TAG: "dataclass", "n": kind.__qualname__, "v": fields}
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):  # anthropic's content blocks
        return _pack(dump(mode="json", exclude_unset=True), place, classes)
    if isinstance(value, str | int | list) and not isinstance(value, enum.Enum):
        plain: type = next(base for base in (str, int, list) if isinstance(value, base))
        return _pack(plain(value), place, classes)
    raise SessionNotStorable(
        f"{place} is a {kind.__module__}.{kind.__qualname__}, which JSON can not hold: store plain data, or "
        "a dataclass or enum that the session class's annotations name"
    )


def _pack_dict(value: dict[Any, Any], place: str, classes: Mapping[str, type]) -> Any:
    entries = list(value.items())  # at once: a thread may go on to change it
    if all(type(key) is str and key != _TAG for key, _ in entries):
        return {key: _pack(item, f"{place}[{key!r}]", classes) for key, item in entries}
    pairs = [
        [_pack(key, f"{place} key", classes), _pack(item, f"{place}[{key!r}]", classes)]
        for key, item in entries
    ]
    return {_TAG: "dict", "v": pairs}


def _unpack(value: Any, classes: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, classes) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get(_TAG)
    if tag is None:
        return {key: _unpack(item, classes) for key, item in value.items()}
    content = value["v"]
    if tag in _RESTORE:
        return _RESTORE[tag](content)
    if tag in {"tuple", "set", "frozenset"}:
        items = [_unpack(item, classes) for item in content]
        return tuple(items) if tag == "tuple" else set(items) if tag == "set" else frozenset(items)
    if tag == "dict":
        return {_unpack(key, classes): _unpack(item, classes) for key, item in content}
    kind: Any = classes.get(value["n"])
    if kind is None:
        raise ValueError(
            f"the record holds a {value['n']}, which the session class's annotations do not name"
        )
    if tag == "enum":
        return kind[content]
    if tag == "dataclass":
        names = {field.name for field in dataclasses.fields(kind) if field.init}
        return kind(**{name: _unpack(item, classes) for name, item in content.items() if name in names})
    raise ValueError(f"unknown tag {tag!r}")
