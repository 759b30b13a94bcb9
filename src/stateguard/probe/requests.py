"""Request templates: what each user sends, with places for the user's canary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING

from stateguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS")


@dataclass(frozen=True, slots=True)
class Template:
    """One step of a user's conversation. ``WS`` opens a websocket and sends ``body`` as one message.

    ``once`` steps (logins) are sent by each user once, before the others. ``save`` takes values out of the
    answer: a name, and a dotted path into its JSON or ``header NAME``; later steps of the same user write
    the name in braces. ``shared`` says that its data and its answer are meant for everybody. ``messages``
    are sent over a websocket, one after the other.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    once: bool = False
    save: tuple[tuple[str, str], ...] = ()
    shared: bool = False
    optional: bool = False
    """Whether the verdict does without it if it always fails: it was made up, not given."""
    messages: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What is sent over a websocket."""
        return self.messages or (self.body,)

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"{self.method} {self.path}"

    @property
    def marked(self) -> bool:
        """Whether it carries a canary."""
        return any("{canary}" in text for text in self._parts())

    def _parts(self) -> tuple[str, ...]:
        return (self.path, self.body, *self.messages, *(value for _, value in self.headers))

    @property
    def credentials(self) -> str:
        """The name of a header that makes all users one to the application; empty if there is none."""
        for name, value in self.headers:
            if name in ("authorization", "cookie", "x-api-key") and "{" not in value:
                return name
        return ""

    def fill(self, values: Mapping[str, str]) -> Template:
        """The request of one user. Nothing but ``{canary}``, ``{user}`` and saved names is replaced."""

        def put(text: str) -> str:
            for name, value in values.items():
                text = text.replace(f"{{{name}}}", value)
            return text

        headers = tuple((name, put(value)) for name, value in self.headers)
        messages = tuple(map(put, self.messages))
        return replace(self, path=put(self.path), headers=headers, body=put(self.body), messages=messages)

    def matches(self, pattern: str) -> bool:
        """Whether ``GET /feed*`` or ``/feed*`` means this request."""
        return fnmatchcase(self.name if " " in pattern else self.path, pattern)


def parse(text: str, once: bool = False) -> Template:
    """A template from ``METHOD PATH [BODY]``. Raises :class:`~stateguard.errors.ConfigError`."""
    parts = text.strip().split(None, 2)
    if len(parts) < 2 or parts[0].upper() not in METHODS or not parts[1].startswith("/"):
        raise ConfigError(
            f'the request {text!r} is not METHOD /path [body], such as \'POST /chat {{"message": '
            f'"{{canary}}"}}\'; methods are {", ".join(METHODS)}'
        )
    body = parts[2] if len(parts) == 3 else ""
    headers: tuple[tuple[str, str], ...] = ()
    if body and parts[0].upper() != "WS":
        kind = "application/json" if body[0] in '{["' else "application/x-www-form-urlencoded"
        headers = (("content-type", kind),)
    return Template(parts[0].upper(), parts[1], headers, body, once)


def header(text: str) -> tuple[str, str]:
    """A header from ``Name: value``. Raises :class:`~stateguard.errors.ConfigError`."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or any(c in text for c in "\r\n"):
        raise ConfigError(f"the header {text!r} is not 'Name: value', such as 'X-API-Key: {{canary}}'")
    return name.strip().lower(), value.strip()


def saved(text: str) -> tuple[str, str]:
    """What to keep of an answer, from ``name=path.in.json`` or ``name=header X``.

    Raises :class:`~stateguard.errors.ConfigError`.
    """
    name, equals, path = text.partition("=")
    if not equals or not name.strip().isidentifier() or not path.strip():
        raise ConfigError(f"{text!r} is not NAME=PATH, such as token=access_token or token=header X-Token")
    if name.strip() in ("canary", "user"):
        raise ConfigError(f"{{{name.strip()}}} is the probe's own: keep the value under another name")
    return name.strip(), path.strip()


def fingerprint(templates: Sequence[Template]) -> str:
    """Eight hexadecimal digits that stand for these requests."""
    parts = [(t.method, t.path, t.headers, t.body, t.once, t.save, t.messages) for t in templates]
    return sha256(repr(parts).encode()).hexdigest()[:8]
