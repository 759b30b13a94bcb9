"""The test clients through which tests reach their application, guarded without an edit.

Each is changed at the method that calls the application, so clients made before the first guarded test are
guarded as well; the attributes that tests look at (``client.app``) stay as they are. Modules are never
imported from here: one that is loaded is changed at once, any other when it has been imported.
"""

from __future__ import annotations

import sys
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from stateguard.asgi import StateGuardMiddleware as ASGIMiddleware
from stateguard.attribution.steps import drive
from stateguard.request_data import RequestData
from stateguard.wsgi import StateGuardMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from stateguard.guard import Guard

active: Guard | None = None
"""The guard of the test that is running."""


class _ASGI:
    """Serves each request under the guard of the test that sends it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["app"], name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if active is None:
            return await self.app(scope, receive, send)
        return await ASGIMiddleware(self.app, guard=active)(scope, receive, send)


class _WSGI:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["app"], name)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if active is None:
            return self.app(environ, start_response)
        return WSGIMiddleware(self.app, guard=active)(environ, start_response)


def _wrapping(wrapper: type) -> Callable[[Any], Any]:
    """For a transport's method: see to it that the transport's application is guarded."""

    def change(method: Any) -> Any:
        @wraps(method)
        def call(self: Any, *args: Any, **named: Any) -> Any:
            if type(self.app) is not wrapper:
                self.app = wrapper(self.app)
            return method(self, *args, **named)

        return call

    return change


def _run_wsgi_app(function: Any) -> Any:
    @wraps(function)
    def call(app: Any, *args: Any, **named: Any) -> Any:
        return function(_WSGI(app), *args, **named)

    return call


# Django's clients call neither WSGI nor ASGI applications: their handlers return Django's own response.


def _django(method: Any) -> Any:
    @wraps(method)
    def call(self: Any, environ: dict[str, Any]) -> Any:
        guard = active
        if guard is None or guard.mode == "off":
            return method(self, environ)
        name, verb = str(environ.get("PATH_INFO", "")), str(environ.get("REQUEST_METHOD", ""))
        with guard.request(name, method=verb) as request:
            client = str(environ.get("REMOTE_ADDR") or "")
            data = RequestData(environ.get("QUERY_STRING"), (), client, name)
            data.environ = environ
            request.data = data
            payload = getattr(environ.get("wsgi.input"), "_FakePayload__content", None)
            if payload is not None:
                data.add_body(payload.getvalue())
            try:
                return method(self, environ)
            finally:
                data.tokens()
                data.environ = None

    return call


def _django_async(method: Any) -> Any:
    @wraps(method)
    async def call(self: Any, scope: dict[str, Any]) -> Any:
        guard = active
        if guard is None or guard.mode == "off":
            return await method(self, scope)
        name, verb = str(scope.get("path", "")), str(scope.get("method", ""))
        with guard._request(name, verb, stepwise=True) as request:
            request.data = RequestData(scope.get("query_string"), scope.get("headers") or (), "", name)
            payload = getattr(scope.get("_body_file"), "_FakePayload__content", None)
            if payload is not None:
                request.data.add_body(payload.getvalue())
            if guard.engine is None:
                return await method(self, scope)
            guard.engine.follow(request)
            return await drive(method(self, scope), request, request.guard.begin, request.guard.end)

    return call


_CHANGES: dict[str, tuple[tuple[str, Callable[[Any], Any]], ...]] = {
    "starlette.testclient": (("_TestClientTransport.handle_request", _wrapping(_ASGI)),),
    "httpx._transports.asgi": (("ASGITransport.handle_async_request", _wrapping(_ASGI)),),
    "httpx._transports.wsgi": (("WSGITransport.handle_request", _wrapping(_WSGI)),),
    "werkzeug.test": (("run_wsgi_app", _run_wsgi_app),),
    "django.test.client": (
        ("ClientHandler.__call__", _django),
        ("AsyncClientHandler.__call__", _django_async),
    ),
}
"""Which function of which module is changed, and how."""

_undo: list[tuple[Any, str, Any]] = []


def _change(module: ModuleType) -> None:
    for path, change in _CHANGES[module.__name__]:
        holder: Any = module
        *outer, name = path.split(".")
        for part in outer:
            holder = getattr(holder, part, None)
        original = getattr(holder, name, None)
        if original is None:
            raise ImportError(
                f"{module.__name__} has no {path}: this version of the package is not known to stateguard's "
                "pytest plugin. Run without --stateguard, and please report it"
            )
        setattr(holder, name, change(original))
        _undo.append((holder, name, original))


class _AfterImport(MetaPathFinder):
    """Finds nothing itself: lets the others find, and has the module changed once it is loaded."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _CHANGES or fullname in self._asked:
            return None
        self._asked.add(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._asked.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Changing(spec.loader)
        return spec


class _Changing(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_loader"], name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _change(module)


_finder = _AfterImport()


def install() -> None:
    """Guard the clients that are loaded, and those that will be."""
    if _finder not in sys.meta_path:
        for name in _CHANGES:
            module = sys.modules.get(name)
            if module is not None:
                _change(module)
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Put everything back."""
    global active
    active = None
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    while _undo:
        holder, name, original = _undo.pop()
        setattr(holder, name, original)
