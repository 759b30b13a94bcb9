"""Which session a request belongs to: ids that a client can hold but not make up.

A session id that a client may choose freely is a session that a client may take over. So an id comes back
from the client with a signature (:class:`SignedCookie`, :class:`SignedHeader`), or from your own code, which
knows it from elsewhere: ``session_id=lambda request: ...``. :class:`UnsignedHeader` takes what the client
sends, for networks where something in front has checked it, and asks you to say so.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal

from stateguard.errors import ConfigError, SessionIdRefused

log = logging.getLogger("stateguard.sessions")

MIN_SECRET = 16
"""The shortest secret accepted, in bytes."""

DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Request:
    """What an id or a user is read from: the same for ASGI and WSGI.

    ``headers`` has lower-case names; ``native`` is the ASGI scope or the WSGI environ.
    """

    headers: Mapping[str, str]
    is_secure: bool
    native: Mapping[str, Any]
    kind: Literal["http", "websocket"] = "http"

    def cookie(self, name: str) -> str | None:
        """The value of a cookie, or ``None``; a ``Cookie`` header that is not one has no cookies."""
        return next(iter(self.cookies(name)), None)

    def cookies(self, name: str) -> list[str]:
        """The values of all cookies of that name: a browser sends one for each path and domain."""
        found = []
        for part in self.headers.get("cookie", "").split(";"):
            key, is_pair, value = part.strip().partition("=")
            if is_pair and key == name:
                found.append(value.strip().strip('"'))
        return found


def from_asgi(scope: Mapping[str, Any]) -> Request:
    """The request of an ASGI scope."""
    headers: dict[str, str] = {}
    for name, value in scope.get("headers") or ():
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}; {text}" if key == "cookie" and key in headers else text
    kind: Literal["http", "websocket"] = "websocket" if scope.get("type") == "websocket" else "http"
    return Request(headers, scope.get("scheme") in {"https", "wss"}, scope, kind)


def from_wsgi(environ: Mapping[str, Any]) -> Request:
    """The request of a WSGI environ."""
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    return Request(headers, environ.get("wsgi.url_scheme") == "https", environ)


@dataclass(frozen=True, slots=True)
class Identity:
    """A request's session id. ``is_new`` if none came with it; ``is_stale`` if it is to be sent again."""

    id: str
    is_new: bool = False
    is_stale: bool = False


class SessionIds(ABC):
    """Reads the session id of a request, and says which response header hands it to the client."""

    @abstractmethod
    def read(self, request: Request) -> Identity:
        """The request's session id, or a new one; raises :class:`SessionIdRefused` for a forged one."""

    def headers(self, identity: Identity, request: Request) -> list[tuple[str, str]]:
        """Response headers that give the client its id."""
        return []

    def forget(self, request: Request) -> list[tuple[str, str]]:
        """Response headers that make the client forget its id."""
        return []

    def renew(self) -> Identity:
        """A new identity for a session that has one; raises :class:`ConfigError` if ids are not made here."""
        return Identity(new_id(), is_new=True)


def new_id() -> str:
    """A session id that nobody can guess: 192 random bits."""
    return secrets.token_urlsafe(24)


class SignedCookie(SessionIds):
    """The id in a cookie, signed with ``secret`` and a time stamp by itsdangerous.

    ``secret`` is a text of at least 16 bytes, or several, the newest last: all are accepted, the last one
    signs. A cookie older than ``max_age`` seconds is not accepted, and one past half of it is renewed. The
    cookie is ``HttpOnly``; ``secure=None`` makes it ``Secure`` on requests that came by TLS, so say
    ``secure=True`` behind a proxy that ends TLS and does not tell. A cookie that bears no valid signature
    counts as none, and is logged: the client gets a new session.

    Needs the package itsdangerous: ``pip install 'stateguard-middleware[cookies]'``.
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        name: str = "stateguard_session",
        max_age: int = 14 * DAY,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        same_site: Literal["Lax", "Strict", "None"] = "Lax",
    ) -> None:
        self._signer = _signer(secret, f"stateguard.cookie.{name}")
        self.name = name
        self.max_age = max_age
        self.path = path
        self.domain = domain
        self.secure = secure
        self.same_site = same_site
        try:
            SimpleCookie({name: "x"})
        except CookieError as error:
            raise ConfigError(f"SignedCookie(name={name!r}): {error}") from error
        if same_site not in {"Lax", "Strict", "None"}:
            raise ConfigError(f"SignedCookie(same_site={same_site!r}): use 'Lax', 'Strict' or 'None'")
        if any(not part.isprintable() or set(part) & set(";, ") for part in (path, domain or "")):
            raise ConfigError(f"SignedCookie(path={path!r}, domain={domain!r}): not what a cookie can hold")
        # Browsers drop such cookies without a word, and every request would start a new session.
        if same_site == "None" and not secure:
            raise ConfigError("SignedCookie(same_site='None') works with secure=True only")
        if name.startswith("__Secure-") and not secure:
            raise ConfigError(f"SignedCookie(name={name!r}) works with secure=True only")
        if name.startswith("__Host-") and (not secure or path != "/" or domain is not None):
            raise ConfigError(f"SignedCookie(name={name!r}) works with secure=True, path='/', no domain only")

    def read(self, request: Request) -> Identity:
        """The id of a valid cookie, else a new one."""
        texts = request.cookies(self.name)
        for text in texts:  # a neighbouring domain can add a forged one, and must not lock anybody out so
            session_id, age = _unsign(self._signer, text)
            if session_id is None:
                log.warning("cookie %s bears no valid signature: not accepted", self.name)
            elif age <= self.max_age:
                return Identity(session_id, is_stale=age > self.max_age / 2)
        return Identity(new_id(), is_new=True)

    def headers(self, identity: Identity, request: Request) -> list[tuple[str, str]]:
        """``Set-Cookie``, for a new id or one to be renewed."""
        if not identity.is_new and not identity.is_stale:
            return []
        value = self._signer.sign(identity.id).decode("ascii")
        return [("Set-Cookie", self._cookie(value, self.max_age, request))]

    def forget(self, request: Request) -> list[tuple[str, str]]:
        """``Set-Cookie`` with an age of 0."""
        return [("Set-Cookie", self._cookie("", 0, request))]

    def _cookie(self, value: str, max_age: int, request: Request) -> str:
        parts = [f"{self.name}={value}", f"Max-Age={max_age}", f"Path={self.path}", "HttpOnly"]
        parts.append(f"SameSite={self.same_site}")
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        if request.is_secure if self.secure is None else self.secure:
            parts.append("Secure")
        return "; ".join(parts)


class SignedHeader(SessionIds):
    """The id in a request header, with an HMAC, for clients that are programs.

    A request without the header starts a new session; its response carries the signed id in the same header,
    and the client sends that back. A value without a valid signature is refused (400). ``max_age`` is in
    seconds, ``None`` for no limit.

    Needs the package itsdangerous: ``pip install 'stateguard-middleware[cookies]'``.
    """

    def __init__(
        self, secret: str | Sequence[str], *, name: str = "X-Session-ID", max_age: int | None = None
    ) -> None:
        self._signer = _signer(secret, f"stateguard.header.{name.lower()}")
        self.name = name
        self.max_age = max_age

    def read(self, request: Request) -> Identity:
        """The signed id, or a new one when there is no such header."""
        text = request.headers.get(self.name.lower())
        if not text:
            return Identity(new_id(), is_new=True)
        session_id, age = _unsign(self._signer, text)
        if session_id is None:
            raise SessionIdRefused(f"{self.name}: the session id bears no valid signature")
        if self.max_age is not None and age > self.max_age:
            raise SessionIdRefused(
                f"{self.name}: the session id has expired; leave the header out for a new one"
            )
        return Identity(session_id)

    def headers(self, identity: Identity, request: Request) -> list[tuple[str, str]]:
        """The header with the signed id, for a new session."""
        return [(self.name, self.sign(identity.id))] if identity.is_new else []

    def sign(self, session_id: str) -> str:
        """The header's value for an id of your own."""
        return str(self._signer.sign(session_id).decode("ascii"))


class UnsignedHeader(SessionIds):
    """The id as the client sends it: whoever knows or guesses another client's id has its session.

    Only for networks where something in front of the application has set or checked the header; say so with
    ``trust_clients=True``.
    """

    def __init__(self, name: str = "X-Session-ID", *, trust_clients: bool = False) -> None:
        if not trust_clients:
            raise ConfigError(
                f"UnsignedHeader({name!r}) lets every client choose its session id, and so take over the "
                "session of another. Use SignedHeader(secret) or SignedCookie(secret); if a gateway sets or "
                "checks the header, say trust_clients=True"
            )
        self.name = name

    def read(self, request: Request) -> Identity:
        """The id as it came, or a new one."""
        text = request.headers.get(self.name.lower())
        return Identity(text) if text else Identity(new_id(), is_new=True)

    def headers(self, identity: Identity, request: Request) -> list[tuple[str, str]]:
        """The header with the id, for a new session."""
        return [(self.name, identity.id)] if identity.is_new else []


@dataclass(frozen=True, slots=True)
class CallableIds(SessionIds):
    """Ids from the user's function of the :class:`Request`; ``None`` or ``""`` starts a new session."""

    function: Callable[[Request], str | None] = field()

    def read(self, request: Request) -> Identity:
        """What the function says."""
        found = self.function(request)
        if found:
            return Identity(found)
        return Identity(new_id(), is_new=True)

    def renew(self) -> Identity:
        """Not here: the function would give the old id again."""
        raise ConfigError(
            "renew_session(): this application's session_id= is a function of its own, which would give the "
            "old id again. Let it give another one (for instance, of the user who has logged in)"
        )


def ids(source: object) -> SessionIds:
    """The :class:`SessionIds` for the option ``session_id=``; raises :class:`ConfigError` if it is none."""
    if isinstance(source, SessionIds):
        return source
    if callable(source):
        return CallableIds(source)
    raise ConfigError(
        f"session_id={source!r}: use SignedCookie(secret), SignedHeader(secret) or a function of the request "
        "(from stateguard.sessions). A bare header or cookie name is refused, because a client could put "
        "another client's session id into it"
    )


def _signer(secret: str | Sequence[str], salt: str) -> Any:
    keys = [secret] if isinstance(secret, str) else list(secret)
    if not keys or any(len(key.encode()) < MIN_SECRET for key in keys):
        raise ConfigError(
            f"the secret needs at least {MIN_SECRET} bytes; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    try:
        from itsdangerous import TimestampSigner
    except ImportError as error:
        raise ConfigError(
            "signed session ids need the package itsdangerous: pip install 'stateguard-middleware[cookies]'"
        ) from error
    return TimestampSigner(keys, salt=salt, digest_method=hashlib.sha256)


def _unsign(signer: Any, text: str) -> tuple[str | None, float]:
    """The signed id and its age in seconds, or ``None`` for a signature that is not ours."""
    from itsdangerous import BadSignature

    try:
        value, signed = signer.unsign(text, return_timestamp=True)
        return value.decode("utf-8"), time.time() - signed.timestamp()
    except (BadSignature, UnicodeError, ValueError, OverflowError):
        return None, 0.0
