"""What comes back from a request, and everything in it where a canary can be."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookies import CookieError, Morsel, SimpleCookie
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 2_000_000
"""Bytes of one answer that are read, and that a compressed one is unpacked to."""

MESSAGES = 1000
"""Messages of one websocket that are kept."""


@dataclass
class Answer:
    """What came back. ``error`` is set when nothing did, or not all of it."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    messages: list[bytes] = field(default_factory=list)
    error: str = ""

    @property
    def full(self) -> bool:
        """Whether no more of it is read."""
        return len(self.body) >= LARGEST or len(self.messages) >= MESSAGES

    @property
    def begun(self) -> bool:
        """Whether anything came at all."""
        return bool(self.headers or self.body or self.messages or (self.status and not self.error))

    @property
    def failed(self) -> bool:
        """Whether it counts as an error."""
        return bool(self.error) or self.status >= 400

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Everything in which a canary can be, with its name."""
        for name, value in self.headers:
            cookie = name == "set-cookie"
            label = f"cookie {value.partition('=')[0]}" if cookie else f"header {name}"
            yield label, value.encode("latin-1", "replace")
        # The whole body at once: a canary may be cut in two by the chunks of a stream.
        yield "body", self.content()
        for number, message in enumerate(self.messages):
            yield f"message {number}", message

    def content(self) -> bytes:
        """The body, unpacked if it was compressed and what unpacks it is there; else as it came."""
        data = bytes(self.body)
        for name, value in self.headers:
            if name == "content-encoding":
                for coding in reversed([each.strip().lower() for each in value.split(",")]):
                    data = _unpacked(data, coding)
        return data

    def update_cookies(self, jar: dict[str, str]) -> None:
        """Put the cookies that it sets into a user's jar, and take out those that it deletes."""
        for name, value in self.headers:
            if name != "set-cookie":
                continue
            try:
                found = SimpleCookie(value)
            except CookieError:
                continue
            for key, morsel in found.items():
                if _over(morsel):
                    jar.pop(key, None)
                else:
                    jar[key] = morsel.coded_value

    def value(self, path: str) -> str | None:
        """What a dotted path into the JSON body, or ``header NAME``, leads to."""
        if path.startswith("header "):
            wanted = path.removeprefix("header ").strip().lower()
            return next((value for name, value in self.headers if name == wanted), None)
        try:
            found: Any = json.loads(self.content())
            for step in path.split("."):
                found = found[int(step)] if isinstance(found, list) else found[step]
        except (ValueError, KeyError, IndexError, TypeError):
            return None
        return None if found is None or isinstance(found, dict | list) else str(found)


def _over(morsel: Morsel[str]) -> bool:
    age = str(morsel["max-age"]).strip()
    if age:
        return age.startswith("-") or age == "0"
    try:
        expires = str(morsel["expires"])
        return bool(expires) and parsedate_to_datetime(expires).timestamp() < 1e8
    except ValueError:
        return False


def _unpacked(data: bytes, coding: str) -> bytes:
    """As much as there is of it: the end may be missing, and a small answer may unpack to a huge one."""
    if coding in ("gzip", "x-gzip", "deflate"):
        for bits in (47, -15):  # with a header of either kind; without, as some servers take deflate to mean
            try:
                return zlib.decompressobj(bits).decompress(data, LARGEST)
            except zlib.error:
                continue
    elif coding == "br":
        try:
            import brotli
        except ModuleNotFoundError:
            return data
        try:
            return bytes(brotli.Decompressor().process(data))[:LARGEST]
        except brotli.error:
            return data
    return data
