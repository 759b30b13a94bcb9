"""What Django loads for ``INSTALLED_APPS``."""

from __future__ import annotations

from contextlib import suppress
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.urls import get_resolver

from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.guard import Guard
from stateguard.integrations.settings import options_from
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SESSIONS = ("store", "session_id", "user_id", "session_log", "on_store_error")

_HANDLERS: dict[type, Any] = {WSGIHandler: WSGIHandler.__call__, ASGIHandler: ASGIHandler.__call__}
"""Django's own methods: setting up twice in one process must not guard twice."""


class StateGuardConfig(AppConfig):
    """Guards Django's handlers when Django is ready."""

    name = "stateguard.integrations.django"
    label = "stateguard"
    verbose_name = "stateguard"
    guard: Guard | None = None

    def ready(self) -> None:
        """Raises :class:`~stateguard.errors.ConfigError` for settings that cannot work."""
        given = dict(getattr(settings, "STATEGUARD", {}))
        sessions = {name: given.pop(name) for name in _SESSIONS if name in given}
        _views.cache_clear()
        self.guard = guard = Guard(**options_from(given, "settings.STATEGUARD"))
        WSGIHandler.__call__ = _wsgi(_HANDLERS[WSGIHandler], guard, sessions)
        ASGIHandler.__call__ = _asgi(_HANDLERS[ASGIHandler], guard, sessions)


@cache
def _views() -> None:
    """Have Django import the views, as it does at its first request: what that one writes is to be seen."""
    with suppress(Exception):  # the request itself will run into it, and Django will say so
        _ = get_resolver().url_patterns


def _wsgi(call: Callable[..., Any], guard: Guard, sessions: dict[str, Any]) -> Callable[..., Any]:
    @wraps(call)
    def guarded(self: WSGIHandler, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _views()
        middleware: WSGIGuard | None = vars(self).get("_stateguard")
        if middleware is None or middleware.guard is not guard:
            middleware = self._stateguard = WSGIGuard(call.__get__(self), guard=guard, **sessions)
        return middleware(environ, start_response)

    return guarded


def _asgi(call: Callable[..., Any], guard: Guard, sessions: dict[str, Any]) -> Callable[..., Any]:
    @wraps(call)
    async def guarded(self: ASGIHandler, scope: Any, receive: Any, send: Any) -> Any:
        _views()
        middleware = vars(self).get("_stateguard")
        if middleware is None or middleware.guard is not guard:
            middleware = self._stateguard = ASGIGuard(call.__get__(self), guard=guard, **sessions)
        return await middleware(scope, receive, send)

    return guarded
