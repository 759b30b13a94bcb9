"""A request's stored session: loaded before the application runs, saved before the client hears of it.

The middlewares put :class:`stateguard.sessions.asgi.ASGISessions` or its WSGI sister between themselves and
the application, if they are given a ``store=``. A response is an acknowledgement, so what the request changed
is saved before the response starts, and again before its last piece leaves (a streamed answer adds its
message at the end). A save that fails turns a response that has not started into an error of the right
status; one that has started is cut off, so that no client takes it for complete.

A request that fails leaves the session as it was: after an exception, and with a response of 500 or above,
nothing (more) is saved, in whatever framework. Whoever tries again then does not find the first try.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Literal

from stateguard.agent_session import AgentSession
from stateguard.errors import ConfigError, SessionDenied, SessionError, SessionRecordError, SessionStoreError
from stateguard.scope import Scope, require_scope
from stateguard.sessions.base import SessionStore
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.identity import Identity, Request, SessionIds, ids
from stateguard.sessions.policy import Terms
from stateguard.sessions.renew import renew
from stateguard.sessions.steps import Step, Steps

log = logging.getLogger("stateguard.sessions")

OnStoreError = Literal["fail", "fresh"]


@dataclass(frozen=True, slots=True)
class SessionBinding:
    """How requests get their session from ``store``; see :func:`bind`."""

    store: SessionStore
    ids: SessionIds
    user_id: Callable[[Request], str | None] | None
    session_factory: Callable[[], Any]
    log: str | None
    on_store_error: OnStoreError

    def open(self, request: Request) -> Steps[Held]:
        """Load the session of a request; raises the :class:`SessionError` to answer with."""
        identity = self.ids.read(request)
        user_id = self.user_id(request) if self.user_id is not None else None
        policy = self.store.policy
        if request.kind == "websocket" and policy.on_conflict == "lock":
            # A websocket may stay open for hours: it merges, in place of keeping everybody else waiting.
            from dataclasses import replace

            policy = replace(policy, on_conflict="merge")
        checkout: Checkout[Any] = Checkout(
            identity.id, policy, Terms(self.session_factory, self.log, user_id)
        )
        if identity.is_new and policy.on_conflict != "lock":
            checkout.fresh()  # an id made a moment ago: there is nothing to load
            return Held(self, checkout, identity, request)
        try:
            yield from checkout.open()
        except (SessionStoreError, SessionRecordError) as error:
            if self.on_store_error == "fail":
                raise
            log.error("%s. The request goes on with a fresh session that will not be saved", error)
            checkout.fresh()
            checkout.detached = True
        return Held(self, checkout, identity, request)


_HELD = "stateguard held session"


class Held:
    """One request's session while the request is served."""

    __slots__ = (
        *("binding", "checkout", "ended", "has_failed", "has_started", "identity", "is_used", "renewed"),
        "request",
    )

    def __init__(
        self, binding: SessionBinding, checkout: Checkout[Any], identity: Identity, request: Request
    ) -> None:
        self.binding = binding
        self.checkout = checkout
        self.identity = identity
        self.request = request
        self.is_used = False
        self.ended = False
        self.has_started = False
        self.has_failed = False
        self.renewed: Identity | None = None

    def give_to(self, scope: Scope) -> None:
        """Let ``session()`` return this session."""
        scope.provide(self._used)
        scope.values[_HELD] = self

    def _used(self) -> Any:
        self.is_used = True
        if self.has_started and self.identity.is_new and self.headers():
            log.warning(
                "a new session was first used after its response had started, too late to send its id: the "
                "next request will not find it. Call session() before the streamed response is returned"
            )
        return self.checkout.session

    def headers(self) -> list[tuple[str, str]]:
        """The response headers that hand the id to the client, or make it forget it."""
        if self.ended:
            return self.binding.ids.forget(self.request)
        if self.checkout.detached or self.has_failed:
            return []
        return self.binding.ids.headers(self.identity, self.request)

    def fail(self) -> None:
        """The request has failed: from now on nothing of it is saved, and no id handed out."""
        self.has_failed = True

    def renew(self) -> None:
        """Take a new id with the next save; raises :class:`ConfigError` when it could not be handed out."""
        if self.has_started:
            raise ConfigError(
                "renew_session(): the response has started, so its headers can not carry a new id. Call it "
                "before the response is returned, or the websocket accepted"
            )
        self.renewed = self.binding.ids.renew()
        self.is_used = True

    def response_headers(self, present: set[str]) -> list[tuple[str, str]]:
        """Headers to add to a response that starts now, whose own have the lower-case names ``present``."""
        self.has_started = True
        found = self.headers() if self.is_used or self.ended else []
        if found and "cache-control" not in present:
            # A cache that kept this response would hand one client's session to the next.
            found.append(("Cache-Control", "no-store"))
        return found

    def save(self) -> Steps[None]:
        """Store what the request has changed so far; nothing if it has not even looked at the session."""
        if self.has_failed:
            return
        if self.ended:
            if not self.checkout.detached:
                yield Step("delete", (self.checkout.id,))
                self.checkout.detached = True
        elif self.renewed is not None and not self.checkout.detached:
            yield from renew(self.checkout, self.renewed.id)
            self.identity, self.renewed = self.renewed, None
        elif self.is_used:
            yield from self.checkout.save()

    def release(self) -> Steps[None]:
        """Give the lock back, if one is held; a failure is only logged, since the lease ends by itself."""
        try:
            yield from self.checkout.unlock()
        except SessionStoreError as error:
            log.warning("%s. The lock ends with its lease", error)


def bind(
    store: SessionStore | None,
    session_id: object,
    *,
    user_id: Callable[[Request], str | None] | None = None,
    session_factory: Callable[[], Any] | None = None,
    log: str | None = "history",
    on_store_error: OnStoreError = "fail",
) -> SessionBinding | None:
    """The binding for a middleware's options; ``None`` without a store.

    ``session_id`` is where ids come from: :mod:`stateguard.sessions.identity`. ``user_id`` tells who
    asks: a session belongs to the first user it is saved for, and is refused to all others. ``log`` names
    the session's list that grows. ``on_store_error`` says what a request gets when its session can not be
    loaded: ``"fail"`` (503, or 500 for a damaged record) or ``"fresh"``, a session that is never saved.
    Raises :class:`ConfigError` for options that can not work.
    """
    if store is None:
        if session_id is not None or user_id is not None:
            raise ConfigError("session_id= and user_id= need a store=, such as SQLiteStore('sessions.db')")
        return None
    if not isinstance(store, SessionStore):
        raise ConfigError(f"store={store!r}: use MemoryStore(), SQLiteStore(path) or RedisStore(url)")
    if user_id is not None and not callable(user_id):
        raise ConfigError(f"user_id={user_id!r}: give a function of the request that returns the user's id")
    for name, function in (("session_id", session_id), ("user_id", user_id)):
        if iscoroutinefunction(function):
            raise ConfigError(
                f"{name}= is a coroutine function: give a plain function of the request (headers, cookies, "
                "native), and let what has to wait (authentication) run in a middleware around this one"
            )
    if on_store_error not in {"fail", "fresh"}:
        raise ConfigError(f"on_store_error={on_store_error!r}: use 'fail' or 'fresh'")
    return SessionBinding(
        store, ids(session_id), user_id, session_factory or AgentSession, log, on_store_error
    )


def end_session() -> None:
    """Log out: the stored session of this request is deleted, and the client told to forget its id.

    Raises :class:`NoActiveScope` outside a request, :class:`ConfigError` without a store.
    """
    _held("end_session()").ended = True


def renew_session() -> None:
    """Log in: this request's session gets a new id, and the client is told; the old id leads to nothing.

    Without it, somebody who planted a session id of his own in a visitor's browser would share the session
    that the visitor then logs in to. Takes effect when the response starts. Raises :class:`NoActiveScope`
    outside a request, :class:`ConfigError` without a store, with ids that your own function gives, and when
    the response has started.
    """
    _held("renew_session()").renew()


def _held(what: str) -> Held:
    held = require_scope(what).values.get(_HELD)
    if not isinstance(held, Held):
        raise ConfigError(f"{what}: this request's session is not stored; give the middleware a store=")
    return held


TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    409: "Conflict",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
DETAILS = {
    400: "The session id is not valid.",
    403: "This session belongs to another user.",
    409: "Another request changed this conversation at the same time. Nothing was saved; try again.",
    413: "This conversation has become too large. Nothing was saved.",
    500: "The session could not be used.",
    503: "The session store is not available; try again later.",
}


def forgetting(binding: SessionBinding, request: Request, error: SessionError) -> list[tuple[str, str]]:
    """Headers for a refused request: a browser must not be locked out by the cookie of a former user."""
    return binding.ids.forget(request) if isinstance(error, SessionDenied) else []


def answer(error: SessionError) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Status, body and headers that tell a client what happened, without ids or internals; and a log line."""
    log.log(logging.ERROR if error.status >= 500 else logging.WARNING, "%s", error)
    body = f'{{"error":"{type(error).__name__}","detail":"{DETAILS[error.status]}"}}'.encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    headers.append(("Cache-Control", "no-store"))
    if error.status in {409, 503}:
        headers.append(("Retry-After", "1"))
    return error.status, body, headers
