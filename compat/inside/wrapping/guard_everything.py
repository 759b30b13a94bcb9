"""Runs inside of a suite's own processes: the guard around every application that anything calls.

Applications are guarded where frameworks and servers call them, so the objects that tests hold stay as they
are. Each file of tests, or each test, has a guard of its own: a guard holds the applications it has met.
How many applications and calls were guarded, what the guards themselves failed at, and how many leaks they
saw are written to a file per process: a run in which nothing was guarded proves nothing.
"""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.util
import json
import os
import sys
import weakref
from collections import Counter
from functools import wraps

TALLY = os.environ["COMPAT_TALLY"]  # now: tests empty the environment


class _Tally:
    """What has been guarded in this process."""

    def __init__(self):
        self.apps = 0
        self.calls = 0
        self.seen = weakref.WeakSet()
        self.leaks = 0
        self.nodes = 0
        self.failures = Counter()
        self.guard = None
        self.registered = False

    def note(self, app):
        try:
            if app not in self.seen:
                self.seen.add(app)
                self.apps += 1
        except TypeError:  # cannot be hashed or referred to weakly
            pass
        self.calls += 1

    def take(self):
        """What the open guard has seen; without it from now on."""
        guard, self.guard = self.guard, None
        if guard is None:
            return
        engine = guard.engine
        self.leaks += sum(guard.counts.values())
        if engine is not None:
            self.failures.update(engine.failures)
            if engine.watcher is not None:
                self.nodes = max(self.nodes, len(engine.watcher.graph))
        guard.close()

    def write(self):
        self.take()
        facts = {
            "apps": self.apps,
            "calls": self.calls,
            "leaks": self.leaks,
            "failures": dict(self.failures),
            "nodes": self.nodes,
        }
        path = os.path.join(TALLY, f"{os.getpid()}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(facts, file)


tally = _Tally()


def _quiet(leak):
    """Suites write to their own globals all the time; a log line each would be in their caplog."""


def _guard():
    if tally.guard is None:
        from stateguard import Guard

        tally.guard = Guard(on_leak=_quiet)
        if not tally.registered:
            tally.registered = True
            atexit.register(tally.write)
    return tally.guard


def _forget():
    """A forked process has done nothing yet."""
    tally.calls = tally.apps = tally.leaks = 0
    tally.failures.clear()


os.register_at_fork(after_in_child=_forget)


# -- how an application is guarded --------------------------------------------------------------------


class _ASGI:
    """Stands where an application stood; made for objects whose own class cannot be changed."""

    def __init__(self, app):
        self.app = app

    def __getattr__(self, name):
        return getattr(self.__dict__["app"], name)

    async def __call__(self, scope, receive, send):
        from stateguard.asgi import StateGuardMiddleware

        tally.note(self.app)
        return await StateGuardMiddleware(self.app, guard=_guard())(scope, receive, send)


def _asgi(app):
    return app if app is None or type(app) is _ASGI else _ASGI(app)


def _wsgi(app):
    from stateguard.wsgi import StateGuardMiddleware

    def guarded(environ, start_response):
        tally.note(app)
        return StateGuardMiddleware(app, guard=_guard())(environ, start_response)

    return guarded


def _asgi_method(original):
    """For ``__call__`` of an application's class."""

    @wraps(original)
    async def __call__(self, scope, receive, send):
        from stateguard.asgi import StateGuardMiddleware

        tally.note(self)
        return await StateGuardMiddleware(original.__get__(self), guard=_guard())(scope, receive, send)

    return __call__


def _wsgi_method(original):
    @wraps(original)
    def __call__(self, environ, start_response):
        from stateguard.wsgi import StateGuardMiddleware

        tally.note(self)
        return StateGuardMiddleware(original.__get__(self), guard=_guard())(environ, start_response)

    return __call__


def _attribute(name, wrap, before=False):
    """For a method of something that calls ``self.NAME``: see to it that this is guarded."""

    def change(original):
        @wraps(original)
        def call(self, *args, **named):
            if before:
                setattr(self, name, wrap(getattr(self, name)))
                return original(self, *args, **named)
            result = original(self, *args, **named)
            setattr(self, name, wrap(getattr(self, name)))
            return result

        return call

    return change


def _first_argument(wrap):
    def change(original):
        @wraps(original)
        def call(app, *args, **named):
            return original(wrap(app), *args, **named)

        return call

    return change


def _django(kind):
    """Django's test clients call neither protocol: guarded as the pytest plugin guards them."""

    def change(original):
        from stateguard.pytest_plugin import clients

        guarded = getattr(clients, kind)(original)

        def note(self):
            tally.note(self)
            clients.active = _guard()

        if kind == "_django":

            @wraps(original)
            def call(self, environ):
                note(self)
                return guarded(self, environ)

            return call

        @wraps(original)
        async def call_async(self, scope):
            note(self)
            return await guarded(self, scope)

        return call_async

    return change


CHANGES = {
    "starlette.applications": [("Starlette.__call__", _asgi_method)],
    "starlette.testclient": [("_TestClientTransport.handle_request", _attribute("app", _asgi, before=True))],
    "httpx._transports.asgi": [("ASGITransport.handle_async_request", _attribute("app", _asgi, before=True))],
    "httpx2._transports.asgi": [
        ("ASGITransport.handle_async_request", _attribute("app", _asgi, before=True))
    ],
    "uvicorn.protocols.http.h11_impl": [("H11Protocol.__init__", _attribute("app", _asgi))],
    "uvicorn.protocols.http.httptools_impl": [("HttpToolsProtocol.__init__", _attribute("app", _asgi))],
    "uvicorn.protocols.websockets.websockets_impl": [
        ("WebSocketProtocol.__init__", _attribute("app", _asgi))
    ],
    "uvicorn.protocols.websockets.websockets_sansio_impl": [
        ("WebSocketsSansIOProtocol.__init__", _attribute("app", _asgi))
    ],
    "uvicorn.protocols.websockets.wsproto_impl": [("WSProtocol.__init__", _attribute("app", _asgi))],
    "uvicorn.protocols.http.zttp_impl": [("ZttpProtocol.__init__", _attribute("app", _asgi))],
    "uvicorn.protocols.http.zttp_h2_impl": [("ZttpH2Protocol.__init__", _attribute("app", _asgi))],
    "asgiref.testing": [("ApplicationCommunicator.__init__", _attribute("application", _asgi))],
    "asgiref.wsgi": [("WsgiToAsgi.__init__", _attribute("wsgi_application", _wsgi))],
    "flask.app": [("Flask.wsgi_app", _wsgi_method)],
    "werkzeug.test": [("run_wsgi_app", _first_argument(_wsgi))],
    "werkzeug.serving": [("BaseWSGIServer.__init__", _attribute("app", _wsgi))],
    "django.core.handlers.wsgi": [("WSGIHandler.__call__", _wsgi_method)],
    "django.core.handlers.asgi": [("ASGIHandler.__call__", _asgi_method)],
    "django.test.client": [
        ("ClientHandler.__call__", _django("_django")),
        ("AsyncClientHandler.__call__", _django("_django_async")),
    ],
    "falcon.app": [("App.__call__", _wsgi_method)],
    "falcon.asgi.app": [("App.__call__", _asgi_method)],
    "pyramid.router": [("Router.__call__", _wsgi_method)],
    "webtest.app": [("TestApp.__init__", _attribute("app", _wsgi))],
    "wsgiref.simple_server": [("WSGIServer.get_app", lambda original: lambda self: _wsgi(original(self)))],
}
"""Where applications are called: module, function or method, and how it is changed."""


def _change(module):
    _guard()  # now, and not when an event loop is running
    for path, change in CHANGES[module.__name__]:
        *outer, name = path.split(".")
        holder = module
        for part in outer:
            holder = getattr(holder, part, None)
        original = getattr(holder, name, None)
        if original is None:
            sys.stderr.write(f"compat: {module.__name__} has no {path}\n")
            continue
        setattr(holder, name, change(original))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self):
        self._busy = set()

    def find_spec(self, fullname, path, target=None):
        if fullname not in CHANGES or fullname in self._busy:
            return None
        self._busy.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._busy.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _change(module)


def install():
    """Wait for the modules of :data:`CHANGES`. What they hold is guarded from their import on."""
    sys.meta_path.insert(0, _Finder())
