"""One guard per process, around whatever application a server is about to serve.

Nothing in here may keep a service from starting: a watch pattern that names nothing is logged, and the
application is served without a guard.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.config import load_config
from stateguard.errors import StateGuardError
from stateguard.guard import Guard
from stateguard.messages import see
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("stateguard")

_guard: Guard | None = None
_failed = False


def process_guard() -> Guard | None:
    """The guard of this process, made at the first call; ``None`` when its configuration cannot work."""
    global _guard, _failed
    if _guard is None and not _failed:
        try:
            watch = load_config({}).watch
            options: dict[str, Any] = {} if watch is None else {"watch": with_submodules(watch)}
            _guard = Guard(**options)
        except StateGuardError as error:
            _failed = True
            sys.stderr.write(
                f"stateguard: process {os.getpid()} runs unguarded: {error} ({see('runs-unguarded')})\n"
            )
        else:
            _show_log()
    return _guard


def with_submodules(watch: Sequence[str]) -> list[str]:
    """``myapp`` as a person means it on a command line: the package with everything in it."""
    patterns = []
    for pattern in watch:
        patterns.append(pattern)
        plain = not any(sign in pattern for sign in "*?:")
        if plain and f"{pattern}.*" not in watch and _is_package(pattern):
            patterns.append(f"{pattern}.*")
    return patterns


def _is_package(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None and spec.submodule_search_locations is not None


def _show_log() -> None:
    """Servers set up logging for their own loggers only: say leaks on standard error if nobody else does.

    ``logging`` has a last resort of its own, which drops everything milder than a warning and all fields;
    this handler is the same with the process named, and steps aside when the application has set up logging.
    """
    if not logger.hasHandlers():
        handler = _Fallback()
        handler.setFormatter(logging.Formatter("%(levelname)s [%(process)d] %(message)s"))
        logger.addHandler(handler)


class _Fallback(logging.StreamHandler[Any]):
    """Writes to standard error, unless the root logger has got a handler since."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)


def is_asgi(app: Any) -> bool:
    """Whether ``app`` is an ASGI application: called with ``await``."""
    return iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__ if callable(app) else None)


def wrap(app: Any) -> Any:
    """``app`` guarded, whichever kind it is."""
    return wrap_asgi(app) if is_asgi(app) else wrap_wsgi(app)


def wrap_asgi(app: Any) -> Any:
    """An ASGI application, guarded once."""
    guard = process_guard()
    return app if guard is None or _is_wrapped(app) else ASGIGuard(app, guard=guard)


def wrap_wsgi(app: Any) -> Any:
    """A WSGI application, guarded once."""
    guard = process_guard()
    return app if guard is None or app is None or _is_wrapped(app) else WSGIGuard(app, guard=guard)


def _is_wrapped(app: Any) -> bool:
    """Whether ours is the outermost middleware, or stands behind a server's own (``.app``)."""
    for _ in range(20):
        if isinstance(app, (ASGIGuard, WSGIGuard)):
            return app.guard is _guard
        inner = getattr(app, "__dict__", {}).get("app")
        if inner is None:
            return False
        app = inner
    return False
