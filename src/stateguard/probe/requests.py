"""Request templates: what each user sends, with places for the user's canary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from stateguard.errors import ConfigError

PLACES = ("{canary}", "{user}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS")


@dataclass(frozen=True, slots=True)
class Template:
    """One step of a user's conversation. ``WS`` opens a websocket and sends ``body`` as one message.

    ``once`` steps (logins) are sent by each user once, before the others.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    once: bool = False

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"{self.method} {self.path}"

    @property
    def marked(self) -> bool:
        """Whether it carries a canary."""
        return any("{canary}" in text for text in (self.path, self.body, *(v for _, v in self.headers)))

    def fill(self, user: int, canary: str) -> Template:
        """The request of one user. Nothing but ``{canary}`` and ``{user}`` is replaced."""

        def put(text: str) -> str:
            return text.replace("{canary}", canary).replace("{user}", f"user{user}")

        headers = tuple((name, put(value)) for name, value in self.headers)
        return replace(self, path=put(self.path), headers=headers, body=put(self.body))

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
