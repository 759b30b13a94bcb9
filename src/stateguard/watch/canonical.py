"""The same bytes for the same content, in every process, of values that take no application code to read.

Lists, tuples, dictionaries whose keys are strings or integers, and the values without parts in them are
written down one after the other; a value with anything else in it, or very much, is left to the caller.
There is a compiled part that does the same some ten times faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stateguard.watch.alike import has_plain_keys
from stateguard.watch.compare import COMPILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KINDS = {id(dict): "d", id(list): "l", id(tuple): "t"}


LONGEST = (1 << 18) + 64
"""Bytes; beyond, a value is for the caller, who hashes it part by part."""

TEXT = 256
"""Characters or bytes that count as one value more."""


class _NotPlainError(Exception):
    """There is something else in it, or too much."""


class _Writer:
    """What is written, and how much more may be: see :data:`canonical`."""

    def __init__(self, left: int, levels: int, most: int, text: int) -> None:
        self.left = left
        self.levels = levels
        self.most = most
        self.text = text
        self.size = 0

    def write(self, value: Any, above: tuple[int, ...]) -> bytes:
        self.left -= 1
        if self.size > LONGEST:
            raise _NotPlainError
        written = self._write(value, above)
        if id(type(value)) not in _KINDS:
            self.size += len(written)
        return written

    def _write(self, value: Any, above: tuple[int, ...]) -> bytes:
        cls = type(value)
        if cls is str or cls is bytes:
            return self._text(value)
        if cls is int:
            return f"i{hex(value)}:".encode()
        if cls is float:
            return f"f{value!r}:".encode()
        if value is None or cls is bool:
            return b"N" if value is None else b"T" if value else b"F"
        kind = _KINDS.get(id(cls))
        if kind is None:
            raise _NotPlainError
        return self._container(value, kind, above)

    def _text(self, value: Any) -> bytes:
        head, half = f"{'s' if type(value) is str else 'b'}{len(value)}:".encode(), self.text // 2
        if half and len(value) > self.text:
            value = value[:half] + value[-half:]
        elif len(value) > LONGEST:
            raise _NotPlainError
        self.left -= len(value) // TEXT
        return head + (value.encode("utf-8", "surrogatepass") if type(value) is str else value)

    def _container(self, value: Any, kind: str, above: tuple[int, ...]) -> bytes:
        n = len(value)
        head = f"{kind}{n}:".encode()
        self.size += len(head)
        if not self.most and n > self.left:  # all or nothing
            self.left = 0
            return head
        if self.left <= 0:
            return head
        if id(value) in above or len(above) >= self.levels:
            self.size += len(b"...")
            return head + b"..."
        above = (*above, id(value))
        parts = dict.copy(value) if type(value) is dict else list(value)  # in one go, whoever else writes
        if type(parts) is list:
            return head + b"".join([self.write(part, above) for part in self._picked(parts)])
        if not has_plain_keys(parts):
            raise _NotPlainError
        entries = [
            self.write(key, above) + self.write(parts[key], above) for key in self._picked(list(parts))
        ]
        return head + b"".join(sorted(entries))

    def _picked(self, parts: list[Any]) -> Iterable[Any]:
        if not self.most or len(parts) <= self.most:
            return parts
        half = self.most // 2
        return parts[:half] + parts[len(parts) - half :]


def _canonical(value: Any, left: int, levels: int, most: int, text: int) -> tuple[bytes | None, int]:
    writer = _Writer(left, levels, most, text)
    try:
        written = writer.write(value, ())
    except _NotPlainError:
        return None, left
    return (written, writer.left) if len(written) <= LONGEST else (None, left)


canonical: Callable[[Any, int, int, int, int], tuple[bytes | None, int]]
"""``canonical(value, left, levels, most, text)``: the bytes, ``None`` if there is anything else in it, or
very much; and how many values may still be written.

``left`` values are, ``levels`` deep, a long text counting for several. Of a container ``most`` parts are,
half from its beginning and half from its end, of a string ``text`` characters or bytes, likewise. 0 means
all, and then what has too many parts is written without any, and nothing is left.
"""

if COMPILED:
    from stateguard.watch._identity import canonical
else:
    canonical = _canonical
