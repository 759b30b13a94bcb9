"""Who may see the live page: those who know its token.

The token is given once in a form, or as ``Authorization: Bearer``. The browser keeps a cookie made from it,
never the token, which appears in no address and so in no access log.
"""

from __future__ import annotations

import hmac
import threading
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from time import monotonic

from stateguard.errors import ConfigError

SHORTEST = 16
"""Characters that a token must have."""

COOKIE = "stateguard_live"

TRIES = 10
"""Wrong tokens per minute, from everybody together; past that all forms are refused for the rest of it."""


class Entry:
    """Checks tokens and cookies. Raises :class:`~stateguard.errors.ConfigError` for a weak token."""

    def __init__(self, token: str) -> None:
        if not isinstance(token, str) or len(token) < SHORTEST or not token.isascii():
            raise ConfigError(
                f"dashboard(token=...) needs {SHORTEST} or more ASCII characters that nobody can guess: the "
                "page shows what your application does. Make one with: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        self._token = token.encode()
        self._ticket = hmac.new(self._token, b"stateguard live page", sha256).hexdigest()
        self._lock = threading.Lock()
        self._minute = 0.0
        self._wrong = 0

    def knows(self, authorization: str, cookies: str) -> bool:
        """Whether the headers of a request are those of somebody who may see the page."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and not self._closed():
            return self._right(token.strip())
        try:
            found = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self._ticket.encode())

    def admits(self, token: str) -> bool:
        """Whether a token from the form is the right one."""
        return not self._closed() and self._right(token)

    def cookie(self, path: str, secure: bool) -> str:
        """The header that lets the browser in from now on, until it is closed."""
        more = "; Secure" if secure else ""
        return f"{COOKIE}={self._ticket}; Path={path}; HttpOnly; SameSite=Strict{more}"

    def _right(self, token: str) -> bool:
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return True
        with self._lock:
            if monotonic() - self._minute > 60:
                self._minute, self._wrong = monotonic(), 0
            self._wrong += 1
        return False

    def _closed(self) -> bool:
        with self._lock:
            return self._wrong >= TRIES and monotonic() - self._minute <= 60
