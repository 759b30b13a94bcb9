"""Where each server takes its application: one small patch per server, applied when its module is imported.

Each wraps the application that is about to be served and leaves the server as it is otherwise. Patches take
the arguments by position and name as they come, so that a server's new options pass through.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from stateguard.run.wrapping import is_asgi, wrap, wrap_asgi, wrap_wsgi

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def _uvicorn(module: ModuleType) -> None:
    load = module.Config.load

    @wraps(load)
    def load_and_wrap(self: Any) -> None:
        load(self)
        self.loaded_app = wrap_asgi(self.loaded_app)

    module.Config.load = load_and_wrap


def _hypercorn(module: ModuleType) -> None:
    wrap_app = module.wrap_app

    @wraps(wrap_app)
    def wrap_guarded(app: Any, wsgi_max_body_size: int, mode: str | None = None) -> Any:
        if mode is None:
            mode = "asgi" if module.is_asgi(app) else "wsgi"
        app = wrap_asgi(app) if mode == "asgi" else wrap_wsgi(app)
        return wrap_app(app, wsgi_max_body_size, mode)

    vars(module)["wrap_app"] = wrap_guarded


def _gunicorn(module: ModuleType) -> None:
    wsgi = module.BaseApplication.wsgi

    @wraps(wsgi)
    def load_and_wrap(self: Any) -> Any:
        if self.callable is None:
            app = wsgi(self)
            # uvicorn's worker class for gunicorn hands an ASGI application on to uvicorn's Config.
            self.callable = wrap_asgi(app) if is_asgi(app) else wrap_wsgi(app)
        return self.callable

    module.BaseApplication.wsgi = load_and_wrap


def _argument(module: ModuleType, owner: Any, name: str, parameter: str, position: int) -> None:
    """Wrap the application that ``owner.name`` is called with."""
    original = getattr(owner, name)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if parameter in kwargs:
            kwargs[parameter] = wrap(kwargs[parameter])
        elif len(args) > position:
            args = (*args[:position], wrap(args[position]), *args[position + 1 :])
        return original(*args, **kwargs)

    setattr(owner, name, call)


def _werkzeug(module: ModuleType) -> None:
    _argument(module, module, "make_server", "app", 2)


def _wsgiref(module: ModuleType) -> None:
    _argument(module, module.WSGIServer, "set_app", "application", 1)


def _waitress(module: ModuleType) -> None:
    _argument(module, module, "create_server", "application", 0)


def _gevent(module: ModuleType) -> None:
    _argument(module, module.WSGIServer, "__init__", "application", 2)


def _cheroot(module: ModuleType) -> None:
    _argument(module, module.Server, "__init__", "wsgi_app", 2)


PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "uvicorn.config": _uvicorn,
    "hypercorn.utils": _hypercorn,
    "gunicorn.app.base": _gunicorn,
    "werkzeug.serving": _werkzeug,
    "wsgiref.simple_server": _wsgiref,
    "waitress.server": _waitress,
    "gevent.pywsgi": _gevent,
    "cheroot.wsgi": _cheroot,
}
"""Modules and what is done to them: Flask's server is werkzeug's, Django's ``runserver`` is wsgiref's."""


def patch(module: ModuleType) -> None:
    """Make the server that ``module`` belongs to serve guarded applications."""
    PATCHES[module.__name__](module)
