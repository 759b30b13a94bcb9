"""The request scope: what belongs to one request, reachable from all the code that serves it.

A scope is *opened* when a request starts, *entered* around every piece of code that works for it, and
*closed* when the request has ended. ASGI enters once, around the application; WSGI enters around the call,
each ``next()`` on the body and ``close()``, because a server may serve another request on that thread between
two of them. A closed scope counts as none wherever it is still found: servers that keep a connection alive
start the next request in a copy of the previous one's context.

Opening, entering, leaving and closing together cost about a microsecond: every request pays for it, so the
session is not made before somebody asks for it, and a scope entered where nothing was does as its own entry.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from contextvars import Token as VarToken
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from stateguard.errors import ConfigError, NoActiveScope
from stateguard.short import ScopeFields

if TYPE_CHECKING:
    from types import TracebackType

    from stateguard.agent_session import AgentSession
    from stateguard.leak import RequestInfo

Carrier = Literal["contextvar", "thread-local"]
"""Where the current scope is kept. ``contextvar`` (the default) follows tasks, ``asyncio.to_thread`` and
greenlets. ``thread-local`` is for threaded WSGI applications whose code runs parts of itself in other
contexts of the same thread; it can not tell the tasks of one event loop apart: ASGI must not use it."""

T = TypeVar("T")

Entry: TypeAlias = "Token | Scope"

entered: ContextVar[Entry | None] = ContextVar("stateguard_scope", default=None)
"""The latest entry into a scope that a context variable carries: see :func:`current_scope`."""


class _ThreadLocal:
    """The current token per thread, or per greenlet under gevent and eventlet.

    These replace ``threading.local`` when they patch the standard library. An instance made before that is
    shared by all greenlets, so it is made on first use and again when the class has been replaced since.
    """

    __slots__ = ("_local", "used")

    def __init__(self) -> None:
        self._local: Any = None
        self.used = False

    def get(self) -> Entry | None:
        return getattr(self._local, "token", None)

    def set(self, token: Entry | None) -> None:
        self._local.token = token

    def delete(self) -> None:
        self._local.__dict__.pop("token", None)

    def prepare(self) -> None:
        if type(self._local) is not threading.local:
            self._local = threading.local()
        self.used = True


by_thread = _ThreadLocal()


class Token:
    """One entry into a scope; give it back to :meth:`Scope.leave`.

    A scope that is entered where nothing is does as its own entry.
    """

    __slots__ = ("left", "previous", "scope", "var_token")

    def __init__(self, scope: Scope, previous: Entry | None) -> None:
        self.scope = scope
        self.previous = previous
        self.left = False
        self.var_token: VarToken[Entry | None] | None = None


class Scope(ScopeFields):
    """One request's own state.

    ``request`` says which request it is, ``parent`` is the scope of the request that this one is made inside
    of (a test client used by a view), ``values`` holds per-request values by variable. ``closed`` is true
    once the request has ended; the values and the session are gone then.

    Also a context manager that enters, leaves and closes: ``with open_scope() as scope: ...`` for scripts and
    tests.
    """

    __slots__ = ("__weakref__", "_token")

    _token: Entry
    var_token: VarToken[Entry | None] | None

    def __init__(
        self,
        request: RequestInfo | Callable[[], RequestInfo] | tuple[Any, ...] | None,
        factory: Callable[[], Any],
        carrier: Carrier = "contextvar",
        parent: Scope | None = None,
        exchange: object = None,
        owner: object = None,
    ) -> None:
        self._request = request
        self._factory = factory
        self.carrier = carrier
        self.parent = parent
        self.exchange = exchange
        """By the identity of this, a second middleware knows the request again."""
        self.owner = owner
        """The guard that opened the scope."""
        self.values: dict[object, Any] = {}
        self.closed = self.left = False
        self.previous: Entry | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Scope of {self.request or 'no request'}, {state}>"

    @property
    def request(self) -> RequestInfo | None:
        """Which request this is; ``None`` for a scope that was opened by hand."""
        found = self._request
        if callable(found):
            found = self._request = found()
        elif type(found) is tuple:  # a function and its arguments
            found = self._request = found[0](*found[1:])
        return found  # type: ignore[no-any-return]  # a RequestInfo is a tuple of a class of its own

    @property
    def scope(self) -> Scope:
        """Itself: it may be its own entry."""
        return self

    @property
    def session(self) -> Any:
        """This request's session, made by the session factory on first use.

        Assigning replaces it (a session loaded from a store). Raises :class:`NoActiveScope` when closed.
        """
        return self.value(SESSION, self._factory)

    @session.setter
    def session(self, session: Any) -> None:
        if self.closed:
            raise NoActiveScope(_ENDED)
        self.values[SESSION] = session

    def provide(self, factory: Callable[[], Any]) -> None:
        """Let ``factory`` make the session, if nobody has asked for it yet (a session store does this)."""
        self._factory = factory

    @property
    def has_session(self) -> bool:
        """Whether the session exists already: asking does not make it."""
        return SESSION in self.values

    def value(self, key: object, make: Callable[[], T]) -> T:
        """The value kept under ``key``, made by ``make`` on first use; one value even if threads race."""
        values = self.values
        try:
            found: T = values[key]
        except KeyError:
            if self.closed:
                raise NoActiveScope(_ENDED) from None
            # dict.setdefault is atomic: of two threads of one request, both get the first one's object.
            found = values.setdefault(key, make())
        return found

    def enter(self) -> Entry:
        """Make this the current scope of the running context (or thread); undo it with :meth:`leave`."""
        if self.carrier == "contextvar":
            previous = entered.get()
            if previous is None:  # the short way: nothing to go back to, so the scope does as its own entry
                self.previous, self.left = None, False
                self.var_token = entered.set(self)
                return self
            token = Token(self, None if previous.scope.closed else previous)
            token.var_token = entered.set(token)
            return token
        previous = by_thread.get()
        token = Token(self, None if previous is None or previous.scope.closed else previous)
        by_thread.set(token)
        return token

    def leave(self, token: Entry) -> None:
        """Give back what was current before :meth:`enter`; safe to call twice, late, or from elsewhere.

        From another context or thread (a generator body closed by a threadpool) there is nothing to undo.
        Left out of order, the entry is only marked, and skipped when the ones above it are left.
        """
        var_token, previous = token.var_token, token.previous
        # Dropped first: contexts copied during the request keep the token, which must not keep older ones.
        token.var_token = token.previous = None
        if self.carrier == "contextvar":
            if entered.get() is not token:
                token.left, token.previous = True, previous
                return
            if (previous is None or not previous.left) and var_token is not None:
                try:
                    entered.reset(var_token)
                except ValueError:  # entered in another context, of which this one is a copy
                    entered.set(previous)
                return
            entered.set(_still_entered(previous))
        elif by_thread.get() is not token:
            token.left, token.previous = True, previous
        else:
            previous = _still_entered(previous)
            if previous is None:
                by_thread.delete()
            else:
                by_thread.set(previous)

    def close(self) -> None:
        """End of the request: from now on this scope counts as none, and keeps nothing it was given to keep.

        A task that outlives the request may hold the scope for ever; what it holds is then a shell that still
        says which request it was.
        """
        self.closed = True
        self.values = {}
        self.parent = self.exchange = None
        self._factory = ended

    def __enter__(self) -> Scope:
        self._token = self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token = self._token
        del self._token  # it may be this scope itself
        self.leave(token)
        self.close()


class _SessionKey:
    """The key under which :attr:`Scope.values` holds the session."""

    def __repr__(self) -> str:
        return "SESSION"


SESSION = _SessionKey()


def open_scope(
    request: RequestInfo | Callable[[], RequestInfo] | None = None,
    *,
    session_factory: Callable[[], Any] | None = None,
    carrier: Carrier = "contextvar",
) -> Scope:
    """Open a scope for one request; nested in the current one, if there is one.

    ``request`` may be a function that is asked when somebody wants to know.
    ``session_factory`` takes no argument and makes the session on its first use: an
    :class:`~stateguard.AgentSession` if it is not given. The scope is not current before it is entered.
    """
    parent = current_scope()
    if carrier != "contextvar":
        prepare(carrier)
    factory = agent_session if session_factory is None else session_factory
    return Scope(request, factory, carrier, parent)


def agent_session() -> AgentSession:
    """A session of the default kind."""
    # Imported when one is made: who has another kind, or asks for none, never needs it.
    from stateguard.agent_session import AgentSession

    return AgentSession()


def leave(token: VarToken[Entry | None], scope: Scope) -> None:
    """Undo ``token = entered.set(scope)``, as :meth:`Scope.leave` undoes :meth:`Scope.enter`."""
    if entered.get() is not scope:  # out of order, or from another context
        scope.left = True
        return
    try:
        entered.reset(token)
    except ValueError:  # set in another context, of which this one is a copy
        entered.set(None)


def prepare(carrier: Carrier) -> None:
    """Before a scope is opened that ``carrier`` carries. Raises :class:`ConfigError` if there is no such."""
    if carrier == "thread-local":
        by_thread.prepare()
    elif carrier != "contextvar":
        raise ConfigError(f"carrier={carrier!r}: use 'contextvar' (the default) or 'thread-local'")


def current_scope() -> Scope | None:
    """The scope of the request being served here, or ``None``; a scope whose request has ended is none."""
    token = entered.get()
    scope = None if token is None or token.scope.closed else token.scope
    if by_thread.used:
        token = by_thread.get()
        if token is not None and not token.scope.closed and (scope is None or _is_inside(token.scope, scope)):
            return token.scope
    return scope


@overload
def session() -> AgentSession: ...
@overload
def session(kind: type[T]) -> T: ...
def session(kind: type[T] | None = None) -> Any:
    """The session of the request being served.

    ``session()`` is typed as :class:`AgentSession`. With ``session_factory=MyState`` write
    ``session(MyState)``: the same object, typed as what it is, and checked.

    Raises :class:`NoActiveScope` outside a request, after it has ended, and in a thread that was started
    without the request's context; :class:`ConfigError` when the session is not a ``kind``.
    """
    found = require_scope("session()").session
    if kind is not None and not isinstance(found, kind):
        raise ConfigError(
            f"session({kind.__name__}): this request's session is a {type(found).__name__}. Give the "
            f"middleware session_factory={kind.__name__}, or ask for session({type(found).__name__})"
        )
    return found


def require_scope(what: str) -> Scope:
    """The current scope, or :class:`NoActiveScope` saying why ``what`` has none here and what to do."""
    scope = current_scope()
    if scope is not None:
        return scope
    token = entered.get() or (by_thread.get() if by_thread.used else None)
    if token is not None:
        raise NoActiveScope(f"{what}: {_ENDED}")
    thread = threading.current_thread()
    if thread is not threading.main_thread() and not _serves_a_loop():
        raise NoActiveScope(f"{what}: {_BARE_THREAD.format(name=thread.name)}")
    raise NoActiveScope(f"{what}: {_OUTSIDE}")


_OUTSIDE = (
    "no request is being served here. Call it inside a request handled by StateGuardMiddleware; in a script, "
    'a queue job or a Lambda handler wrap the work in `with guard.request("name"):`, in a test in '
    "`with stateguard.open_scope():`"
)
_ENDED = (
    "the request this code was started for has ended, and its state with it. Take what you need before the "
    "response is complete (`mine = session()`) and pass it on, or wrap long-lived work in "
    '`with guard.request("name"):`'
)
_BARE_THREAD = (
    "thread {name!r} does not know which request it works for: a Thread or ThreadPoolExecutor does not "
    "inherit the request's context. Where the request starts it, write stateguard.carry(fn) in place of fn, "
    "as in `executor.submit(stateguard.carry(fn), ...)`, or use asyncio.to_thread(fn, ...). For work that "
    'belongs to no request, wrap it in `with guard.request("name"):`'
)


def _still_entered(token: Entry | None) -> Entry | None:
    while token is not None and (token.left or token.scope.closed):
        token = token.previous
    return token


def _is_inside(inner: Scope, outer: Scope) -> bool:
    parent = inner.parent
    while parent is not None:
        if parent is outer:
            return True
        parent = parent.parent
    return False


def _serves_a_loop() -> bool:
    """Whether this thread runs an event loop: then it is a server's thread, not one a request started."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def ended() -> Any:
    """In place of the session factory of a scope that is closed."""
    raise NoActiveScope(_ENDED)
