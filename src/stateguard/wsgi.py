"""The guard as WSGI middleware.

``app.wsgi_app = StateGuardMiddleware(app.wsgi_app, watch=["myapp", "myapp.*"])`` on Flask, or
``application = StateGuardMiddleware(application, watch=[...])`` around any WSGI application. Options are
those of :class:`stateguard.Guard`; ``guard=`` shares one guard between several applications. ``store=``,
``session_id=`` and ``user_id=`` keep sessions between requests: see :func:`stateguard.sessions.bind`.

The guarded request lasts until the body is closed, or exhausted if it has no ``close()``: frameworks clean up
in there. ``environ``, ``start_response``, lists,
file wrappers and everything else pass through as the objects they are; only a body that is produced
piece by piece is wrapped, because code of the application runs at every piece. In ``raise`` mode
``start_response`` is wrapped as well, because the ``write`` it returns may send the first byte.
"""

from __future__ import annotations

import os
from functools import partial
from threading import get_ident
from time import time
from typing import TYPE_CHECKING, Any, Unpack

from stateguard.attribution.request import GuardedRequest, current
from stateguard.config import Options
from stateguard.errors import ConfigError
from stateguard.guard import Guard
from stateguard.leak import PATH_LENGTH, RequestInfo
from stateguard.passing import PassingScope
from stateguard.request_data import RequestData
from stateguard.scope import Scope, current_scope
from stateguard.sessions.binding import bind
from stateguard.sessions.wsgi import WSGISessions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Token as VarToken

    from stateguard.engine import Engine
    from stateguard.scope import Entry
    from stateguard.sessions.base import SessionStore
    from stateguard.sessions.binding import OnStoreError
    from stateguard.sessions.identity import Request

ID_LENGTH = 128


class StateGuardMiddleware:
    """See the module's text; ``.guard`` is the guard, ``.app`` the wrapped application."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        *,
        guard: Guard | None = None,
        store: SessionStore | None = None,
        session_id: object = None,
        user_id: Callable[[Request], str | None] | None = None,
        session_log: str | None = "history",
        on_store_error: OnStoreError = "fail",
        **options: Unpack[Options],
    ) -> None:
        if guard is not None and options:
            raise ConfigError(
                f"give either guard= or options, not both: {', '.join(sorted(options))} would be ignored"
            )
        self.app = app
        self.guard = guard if guard is not None else Guard(**options)
        self.guard.add_app(app)
        binding = bind(
            store,
            session_id,
            user_id=user_id,
            session_factory=self.guard.config.session_factory,
            log=session_log,
            on_store_error=on_store_error,
        )
        self._served: Callable[..., Iterable[bytes]] = app if binding is None else WSGISessions(app, binding)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("app", "guard", "_served"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.app, name)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        guard = self.guard
        if guard.mode == "off":
            return self.app(environ, start_response)
        marks = _exchange(environ)
        exchange = marks[-1]
        shared = None
        engine = guard.engine
        opened = current_scope()
        if opened is not None and any(opened.exchange is mark for mark in marks):
            if opened.owner is guard:
                return self.app(environ, start_response)  # wrapped twice
            if isinstance(opened.owner, Guard) and opened.owner.gives_sessions_like(guard):
                if engine is None:
                    return self._served(environ, start_response)  # one exchange has one session
                shared = opened
        inherited = current.get()
        stretch: _Stretch | _ScopeStretch
        responder = start_response
        if engine is None:
            facts = (_identify, guard, *_facts(environ), time())
            stretch = _ScopeStretch(guard.open_scope(Scope, facts, exchange, opened))
            stretch.enter()
        elif (
            shared is None
            and (inherited is None or not inherited.active)
            and engine.passing.open
            and not engine.locals.watched
        ):
            facts = (_identify, guard, *_facts(environ), time())
            scope = guard.open_scope(PassingScope, facts, exchange, opened)
            engine.passing.let(scope, _origin(environ))
            stretch = _PassingStretch(scope, engine)
            stretch.enter()
        else:
            around = () if inherited is None else inherited.same_exchange(*marks)
            if any(request.guard is guard for request in around):
                return self.app(environ, start_response)  # wrapped twice
            request = _open(guard, environ, around[0] if around else None, shared)
            stretch = _Stretch(request)
            stretch.enter()
            if guard.raises:
                responder = _Responder(start_response, request)
        complete = True
        try:
            stretch.note_residue()
            body = self._served(environ, responder)
            complete = type(body) in (list, tuple, bytes) or _is_file(body, environ)
        finally:
            # Not in an `except Exception`: GreenletExit and SystemExit end requests as well.
            stretch.leave()
            if complete:
                stretch.finish()
        if complete:
            error = stretch.objection()
            if error is not None:
                _close(body)
                raise error
            return body
        return _BODIES[hasattr(type(body), "__len__"), hasattr(body, "close")](body, stretch)


def _exchange(environ: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one exchange from another. Middlewares hand on copies; the input stream survives those."""
    stream = environ.get("wsgi.input")
    return (environ,) if stream is None else (environ, stream)


def _facts(environ: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """What names the request. Taken now, put into words later: frameworks change the environ, and most
    requests are never named.
    """
    return (
        environ.get("HTTP_X_REQUEST_ID"),
        environ.get("REQUEST_METHOD"),
        environ.get("SCRIPT_NAME"),
        environ.get("PATH_INFO"),
    )


def _origin(environ: dict[str, Any]) -> tuple[Any, ...]:
    """What came with the request: the arguments of :class:`RequestData`."""
    return environ.get("QUERY_STRING"), (), environ.get("REMOTE_ADDR"), environ.get("PATH_INFO"), environ


def _open(
    guard: Guard, environ: dict[str, Any], around: GuardedRequest | None, shared: Scope | None
) -> GuardedRequest:
    if around is not None:
        info = partial(getattr, around, "info")
    elif shared is not None:
        info = partial(getattr, shared, "request")
    else:
        info = partial(_identify, guard, *_facts(environ), time())
    data = None
    if guard.watcher is not None:
        data = RequestData(*_origin(environ))
    request = guard.open(info, data, around, shared)
    request.headers = environ
    request.stream = environ.get("wsgi.input")
    if not request.shares_scope:
        request.scope.exchange, request.scope.owner = _exchange(environ)[-1], guard
    return request


def _identify(guard: Guard, id_: Any, method: Any, script: Any, path: Any, started: float) -> RequestInfo:
    """Which request this is."""
    if type(id_) is not str or not 0 < len(id_) <= ID_LENGTH or not (id_.isascii() and id_.isprintable()):
        id_ = guard.new_id()
    return RequestInfo(id_, "wsgi", str(method or ""), f"{script or ''}{path or ''}"[:PATH_LENGTH], started)


def _is_file(body: Any, environ: dict[str, Any]) -> bool:
    """A body that the server sends by itself, without running the application again."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(body, wrapper):
        return True
    return hasattr(type(body), "fileno")


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


class _Responder:
    """``start_response`` in ``raise`` mode: the ``write`` that it returns is where the first byte may leave.

    In the other modes the application is given the server's own object.
    """

    __slots__ = ("_request", "_start_response")

    def __init__(self, start_response: Callable[..., Any], request: GuardedRequest) -> None:
        self._start_response = start_response
        self._request = request

    def __call__(self, *args: Any, **named: Any) -> Any:
        write = self._start_response(*args, **named)
        if write is None:  # some servers give none
            return None
        request = self._request

        def write_if_clean(data: bytes) -> Any:
            if not request.responding:
                if request.guard.engine is not None:
                    request.guard.engine.look_within()
                request.tainted = request.guard.violation(request) or request.tainted
                if request.tainted is not None:
                    raise request.tainted
                request.responding = True
            return write(data)

        return write_if_clean


class _Stretch:
    """One entry into the application on this thread: scope and account set before, undone after."""

    __slots__ = ("_mark", "_request", "_token")

    def __init__(self, request: GuardedRequest) -> None:
        self._request = request
        self._mark: VarToken[GuardedRequest | None] | None = None
        self._token: Entry | None = None

    def enter(self) -> None:
        request = self._request
        self._token = request.scope.enter()
        self._mark = current.set(request)
        engine = request.guard.engine
        if engine is not None:
            engine.begin(request)

    def leave(self) -> None:
        request = self._request
        engine = request.guard.engine
        if engine is not None:
            engine.end(request)
        if self._mark is not None:
            # Four times per request: contextlib.suppress takes longer than all the rest.
            try:  # noqa: SIM105
                current.reset(self._mark)
            except ValueError:  # this piece ran in another context than the call
                pass
            self._mark = None
        if self._token is not None:
            request.scope.leave(self._token)
            self._token = None

    def note_residue(self) -> None:
        """Note what this thread holds before the application runs on it."""
        engine = self._request.guard.engine
        if engine is not None:
            engine.locals.take(self._request)

    def moved(self) -> None:
        """The request goes on on another thread, of which nothing was noted."""
        self._request.residue = None

    @property
    def silent(self) -> bool:
        """Whether nothing can be raised any more, or never could."""
        request = self._request
        return request.responding or not request.guard.raises

    def responding(self) -> None:
        """The first byte of the response is about to leave."""
        self._request.responding = True

    def objection(self) -> BaseException | None:
        """What to raise now: a proven leak, as long as nothing of the response has left."""
        request = self._request
        return None if request.responding else request.guard.violation(request) or request.tainted

    def finish(self) -> None:
        """The request has ended."""
        request = self._request
        if request.residue is not None and request.guard.engine is not None:
            request.guard.engine.locals.check(request)
        request.guard.finish(request)
        request.close_scope()
        request.stream = request.headers = None
        if request.data is not None:
            request.data.environ = None

    def abandon(self) -> None:
        """It never will. Called by a finalizer, at any point of any code."""
        self._request.guard.abandon(self._request)


class _ScopeStretch:
    """The same for a request that nobody watches: a scope, and nothing else."""

    __slots__ = ("_scope", "_token")

    silent = True

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._token: Entry | None = None

    def enter(self) -> None:
        self._token = self._scope.enter()

    def leave(self) -> None:
        if self._token is not None:
            self._scope.leave(self._token)
            self._token = None

    def note_residue(self) -> None:
        """There is none to be minded."""

    moved = responding = note_residue

    def objection(self) -> BaseException | None:
        """Nothing is ever raised."""
        return None

    def finish(self) -> None:
        """The request has ended."""
        self._scope.close()

    def abandon(self) -> None:
        """It never will. Called by a finalizer, at any point of any code."""
        self._scope.close()


class _PassingStretch(_ScopeStretch):
    """The same for a request that is let pass: a scope, and an eye on when to look closely."""

    __slots__ = ("_engine",)

    _scope: PassingScope

    def __init__(self, scope: PassingScope, engine: Engine) -> None:
        super().__init__(scope)
        self._engine = engine

    def enter(self) -> None:
        scope = self._scope
        self._token = scope.enter()
        if scope.account is not None:
            scope.account.mark = current.set(scope.account)
        self._engine.passing.begin(scope)

    def leave(self) -> None:
        scope = self._scope
        self._engine.passing.end(scope)
        if scope.account is not None:
            self._engine.passing.give_back(scope.account)
        super().leave()

    def finish(self) -> None:
        scope = self._scope
        self._engine.passing.over(scope)
        scope.origin = scope.origin[:4]  # a suspect of the next look must not keep the environ
        suspect = scope.suspect
        if suspect is not None and suspect.data is not None:
            suspect.data.environ = None
        scope.close()

    def abandon(self) -> None:
        self._engine.passing.abandon(self._scope)


class _Body:
    """A body that is produced piece by piece. One ``next`` of ours is one ``next`` of the application's.

    A class, not a generator: a generator that is closed before its first ``next`` would never close the body.
    """

    __slots__ = ("__weakref__", "_body", "_iterator", "_open", "_pid", "_stretch", "_thread")

    _closes = False

    def __init__(self, body: Any, stretch: _Stretch | _ScopeStretch) -> None:
        self._open = [stretch]
        """Empty once the request has ended: of several threads that end it, one takes it out."""
        self._pid = os.getpid()
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._stretch = stretch
        self._thread = get_ident()

    def __del__(self) -> None:
        # A body that nobody exhausts or closes (some adapters never do) must still give its place back. Not
        # a weakref.finalize, which costs more than all else that is done for a body.
        try:
            if self._open and self._pid == os.getpid():
                self._stretch.abandon()
        except Exception:  # at the end of the interpreter, anything may be gone
            pass

    def __getattr__(self, name: str) -> Any:
        # Some applications return their response itself, and those who call them know it as that (Django).
        if name in _Body.__slots__:
            raise AttributeError(name)
        return getattr(self._body, name)

    def __bytes__(self) -> bytes:
        return bytes(self._body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        stretch = self._stretch
        stretch.enter()
        piece = None
        done = True
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            piece = next(self._iterator)
            done = False
        except StopIteration:
            if stretch.silent:
                raise
        finally:
            stretch.leave()
            if done and not self._closes:
                self._end()
        if not stretch.silent:
            error = stretch.objection()
            if error is not None:
                raise error
            if done:
                raise StopIteration
            if piece:
                stretch.responding()
        return piece  # type: ignore[return-value]

    def _end(self) -> None:
        try:
            self._open.pop()
        except IndexError:
            return
        if self._thread != get_ident():
            self._stretch.moved()
        self._stretch.finish()


class _ClosingBody(_Body):
    """A body that is to be closed."""

    __slots__ = ()

    _closes = True

    def close(self) -> None:
        self._stretch.enter()
        try:
            self._body.close()
        finally:
            self._stretch.leave()
            self._end()


class _SizedBody(_Body):
    """A body whose length is known: servers make a ``Content-Length`` out of one that has one piece."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)


class _SizedClosingBody(_ClosingBody, _SizedBody):
    """Both."""

    __slots__ = ()


_BODIES: dict[tuple[bool, bool], type[_Body]] = {
    (False, False): _Body,
    (False, True): _ClosingBody,
    (True, False): _SizedBody,
    (True, True): _SizedClosingBody,
}
"""By whether the application's body has a length, and a ``close``: servers ask ours whether it has."""
