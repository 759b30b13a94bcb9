"""What a request brought along: to tell whether shared state now holds one user's data.

Only looked at when state has changed. Nothing of it is stored in a leak.
"""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

from stateguard.credentials import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WORD = "[a-z_]+|[A-Z_]+"

BODY = 1 << 16
"""Bytes of the body that are kept while the request lasts."""

VALUES = 10_000
"""Values that are looked at in what came with a call."""

SHORTEST = 3
"""Strings below this length say nothing of where they came from."""

_PLUMBING = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "host",
        "origin",
        "pragma",
        "referer",
        "te",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-request-id",
    }
)
"""Headers that every client sends alike: they say nothing of the user."""


class RequestData:
    """The strings of one request, taken apart when first asked for."""

    _size = 0
    _tokens: frozenset[str] | None = None
    _value: Any = None

    def __init__(
        self,
        query: Any = "",
        headers: Iterable[Any] = (),
        client: Any = None,
        path: Any = "",
        environ: Mapping[str, Any] | None = None,
    ) -> None:
        self.environ = environ
        self._query = query
        self._path = path
        self._headers = headers
        self._client = client
        self._body: list[bytes] = []

    def add_body(self, chunk: Any) -> None:
        """Note a piece of the body as it passes by."""
        if type(chunk) is bytes and self._size < BODY:
            self._body.append(chunk)
            self._size += len(chunk)
            self._tokens = None

    def bring(self, value: Any) -> None:
        """Note what came with a call: arguments, an event, a message. Looked at when first asked."""
        self._value = value
        self._tokens = None

    def let_go(self, keep: bool) -> None:
        """The request has ended, and its environ goes, which holds all that served it.

        ``keep`` what the client sent: where values are shown, its credentials have to be known later.
        """
        environ = self.environ
        if environ is None:
            return
        if keep:
            self._headers = list(self._pairs())
            self._body = self._body or [_wsgi_body(environ)[:BODY]]
        self.environ = None

    def tokens(self) -> frozenset[str]:
        """Every value of the query, the cookies, the credentials and other own headers, and the body."""
        if self._tokens is None:
            found: set[str] = set()
            found.update(value for _, value in parse_qsl(_text(self._query)))
            for raw_name, raw_value in self._pairs():
                name = _text(raw_name).lower()
                if name in _PLUMBING:
                    continue
                value = _text(raw_value)
                found.add(value)
                if name == "cookie":
                    found.update(part.partition("=")[2].strip() for part in value.split(";"))
                elif name == "authorization":
                    found.add(value.partition(" ")[2])
            body = b"".join(self._body) or _wsgi_body(self.environ)
            found.update(_body_strings(body[:BODY]))
            found.update(_strings(self._value))
            self._tokens = frozenset(text for text in found if len(text) >= SHORTEST)
        return self._tokens

    def credentials(self) -> frozenset[str]:
        """Every cookie, every ``Authorization`` and every value whose name says that it is a credential."""
        found: set[str] = set()
        body = b"".join(self._body) or _wsgi_body(self.environ)
        fields = list(parse_qsl(_text(self._query)))
        for raw_name, raw_value in self._pairs():
            name, value = _text(raw_name).lower(), _text(raw_value)
            if name == "cookie":
                found.update(part.partition("=")[2].strip() for part in value.split(";"))
            elif name == "authorization":
                found.update((value, value.partition(" ")[2]))
                found.update(_basic(value))
            fields.append((name, value))
        fields += _body_fields(body[:BODY])
        found.update(value for name, value in fields if is_secret_name(name))
        return frozenset(text for text in found if len(text) >= SHORTEST)

    def client(self) -> str:
        """The address that the request came from, or ``""``."""
        client = self._client
        if type(client) in (list, tuple) and client:
            client = client[0]
        return client if type(client) is str else ""

    def _pairs(self) -> Iterable[tuple[Any, Any]]:
        environ = self.environ  # another thread may let go of it
        if environ is not None:
            items = list(environ.items())
            return [(k[5:].replace("_", "-"), v) for k, v in items if type(k) is str and k[:5] == "HTTP_"]
        return [pair for pair in self._headers if type(pair) in (tuple, list) and len(pair) == 2]

    def owns_key(self, key: Any, constants: frozenset[str] = frozenset()) -> bool:
        """Whether a mapping's key is this request's own data: an entry of its own in a table.

        A key that is among the program's ``constants`` is nobody's own, whatever the request says.
        """
        if type(key) is tuple:
            return any(self.owns_key(part, constants) for part in key)
        if type(key) is int and -(10**18) < key < 10**18:
            key = str(key)
        elif type(key) is bytes:
            key = _text(key)
        if type(key) is not str or not key or key in constants:
            return False
        if key == self.client() or key in self.tokens() or key in self._segments():
            return True
        if len(key) < SHORTEST:
            return False
        # A part of what was sent may be a key; a plain word may be in any text.
        part = not re.fullmatch(_WORD, key)
        return any(token in key or (part and key in token) for token in self.tokens())

    def _segments(self) -> list[str]:
        """The parts of the path: the id of a session or a user, in many services."""
        return [part for part in _text(self._path).split("/") if part]

    def appears_in(self, strings: Iterable[str], constants: frozenset[str] = frozenset()) -> bool:
        """Whether one of ``strings`` is, or contains, a string that this request brought.

        What is among the program's ``constants``, such as the name of a role, proves nothing.
        """
        tokens = self.tokens() - constants
        if not tokens:
            return False
        long = [token for token in tokens if len(token) >= 6]
        return any(
            text in tokens or any(token in text for token in long)
            for text in strings
            if len(text) >= SHORTEST
        )


def _text(raw: Any) -> str:
    if type(raw) is bytes:
        return raw.decode("latin-1")
    return raw if type(raw) is str else ""


def _basic(authorization: str) -> list[str]:
    """The password, and the pair with its name, of ``Basic`` credentials."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        pair = b64decode(encoded, validate=True).decode("utf-8", "replace")
    except ValueError:
        return []
    return [pair, pair.partition(":")[2]]


def _body_fields(body: bytes) -> list[tuple[str, str]]:
    """Names and texts of a form or of a JSON object, nested ones too."""
    text = body.decode("utf-8", "replace")
    if text[:1] not in ("{", "["):
        return parse_qsl(text) if "=" in text and "\n" not in text else []
    try:
        todo: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        return []
    found: list[tuple[str, str]] = []
    while todo and len(found) < VALUES:
        value = todo.pop()
        if type(value) is dict:
            found += [(name, one) for name, one in value.items() if type(one) is str]
            todo.extend(value.values())
        elif type(value) is list:
            todo.extend(value)
    return found


def _body_strings(body: bytes) -> set[str]:
    if not body:
        return set()
    text = body.decode("utf-8", "replace")
    if text[:1] in '{["':
        try:
            found = _strings(json.loads(text))
        except (ValueError, RecursionError):  # the latter for what is nested too deeply
            found = set()
        if found:
            return found
    if "=" in text and "\n" not in text:
        return {value for _, value in parse_qsl(text)}
    return {unquote_plus(text)}


def _strings(value: Any) -> set[str]:
    """The strings in a value made of plain containers; anything else is left alone."""
    found: set[str] = set()
    todo, left = [value], VALUES
    while todo and left:
        left -= 1
        value = todo.pop()
        if type(value) is str:
            found.add(value)
        elif type(value) is bytes:
            found.add(value[:BODY].decode("utf-8", "replace"))
        elif type(value) is dict:
            todo.extend(list(value.values())[:left])
        elif type(value) in (list, tuple):
            todo.extend(value[:left])
    return found


def _wsgi_body(environ: Mapping[str, Any] | None) -> bytes:
    """The body of a WSGI request where it can be had without reading the application's stream."""
    if environ is None:
        return b""
    request = environ.get("werkzeug.request")
    own = getattr(request, "__dict__", None)
    if type(own) is dict:
        data = own.get("_cached_data")
        if type(data) is bytes and data:
            return data
        form = own.get("form")
        if isinstance(form, dict):
            values = [v for each in dict.values(form) for v in (each if type(each) is list else [each])]
            return json.dumps([v for v in values if type(v) is str]).encode()
    stream = environ.get("wsgi.input")
    if type(stream) is io.BytesIO and not stream.closed:
        return stream.getvalue()[:BODY]
    return b""
