"""Flask extension: ``StateGuard(app, watch=["myapp", "myapp.*"])``, or ``init_app`` in a factory.

Options are those of :class:`stateguard.Guard`, as keywords or as ``STATEGUARD_WATCH`` and so on in
``app.config``; keywords win, then the environment, then the configuration. ``store=``, ``session_id=`` and
``user_id=`` keep sessions between requests, as those of :class:`stateguard.wsgi.StateGuardMiddleware` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app

from stateguard.errors import ConfigError
from stateguard.integrations.settings import options_from
from stateguard.wsgi import StateGuardMiddleware

if TYPE_CHECKING:
    from flask import Flask

    from stateguard.guard import Guard


class StateGuard:
    """One guard for each application that it is given. ``guard`` is that of the current application."""

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Guard ``app``. Raises :class:`~stateguard.errors.ConfigError` for options that cannot work.

        Call it after middlewares of your own have been put around ``app.wsgi_app``, so that they are guarded
        as well.
        """
        if "stateguard" in app.extensions:
            raise ConfigError(f"the application {app.import_name!r} is guarded already: call init_app() once")
        options = dict(self._options)
        if options.get("guard") is None:
            configured = app.config.get_namespace("STATEGUARD_")
            options |= options_from(configured, "app.config, after STATEGUARD_,")
            options |= self._options
        middleware = StateGuardMiddleware(app.wsgi_app, **options)
        app.wsgi_app = middleware
        app.extensions["stateguard"] = middleware

    @property
    def guard(self) -> Guard:
        """The guard of the current application. Raises ``RuntimeError`` outside of one, as Flask does."""
        middleware: StateGuardMiddleware = current_app.extensions["stateguard"]
        return middleware.guard
