"""What tells values without parts apart, asked of their exact types: no application code runs."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

from stateguard.watch.kinds import qualname

if TYPE_CHECKING:
    from collections.abc import Callable

    Writer = Callable[[Any], bytes | None]


def atom(value: Any) -> bytes | None:
    """The content of a value without parts, the same in every process; ``None`` if it cannot be told."""
    cls = type(value)
    write = _BUILTIN.get(id(cls))
    if write is None:
        module, write = _LIBRARIES.get(qualname(cls), ("", None))
        if write is None or not _is_of(cls, module, qualname(cls)):
            return None
    return write(value)


def _is_of(cls: type, module: str, name: str) -> bool:
    """Whether a class is that of a module of the standard library: what was not imported made no value."""
    return module in sys.modules and cls is vars(sys.modules[module]).get(name)


def _text(value: Any) -> bytes:
    data: bytes = value.encode("utf-8", "surrogatepass") if type(value) is str else value
    return f"{len(value)}:".encode() + data


def _function(value: types.FunctionType) -> bytes:
    module = value.__module__ if type(value.__module__) is str else ""  # anything may be put there
    return f"{module}.{value.__qualname__}".encode("utf-8", "backslashreplace")


def _repr(value: Any) -> bytes:
    return repr(value).encode()


def _moment(value: Any) -> bytes | None:
    zone = value.tzinfo
    if zone is None:
        name = ""
    elif _is_of(type(zone), "datetime", "timezone"):
        name = repr(zone)
    elif _is_of(type(zone), "zoneinfo", "ZoneInfo"):
        name = str(zone)
    else:
        return None
    return f"{value.replace(tzinfo=None).isoformat()} {value.fold} {name}".encode("utf-8", "backslashreplace")


_BUILTIN: dict[int, Writer] = {
    id(str): _text,
    id(bytes): _text,
    id(complex): _repr,
    id(types.FunctionType): _function,
}
"""By the id of the type: a metaclass may define ``__eq__``."""

_LIBRARIES: dict[str, tuple[str, Writer]] = {
    "datetime": ("datetime", _moment),
    "time": ("datetime", _moment),
    "date": ("datetime", _repr),
    "timedelta": ("datetime", _repr),
    "Decimal": ("decimal", _repr),
    "UUID": ("uuid", lambda value: hex(value.int).encode()),
}
"""By the name of the class: its module, and what writes its instances."""
