"""The guard: opens requests, looks at shared state around everything they run, and acts on what changed."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, cast

from stateguard import lifetime
from stateguard.allow import AllowList
from stateguard.aside import allowed_to_block
from stateguard.attribution.finder import Finder
from stateguard.attribution.request import GuardedRequest, current, in_a_task
from stateguard.attribution.steps import drive
from stateguard.config import Config, load_config
from stateguard.engine import Engine
from stateguard.errors import ConfigError, SharedStateMutated
from stateguard.leak import RequestInfo
from stateguard.rating import Rater
from stateguard.request_data import RequestData
from stateguard.scope import Scope, current_scope, prepare
from stateguard.tally import figures_of
from stateguard.verdict import Judge
from stateguard.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from stateguard.leak import Leak
    from stateguard.options import Options
    from stateguard.report.sink import Sink
    from stateguard.sessions.base import SessionStore
    from stateguard.sessions.binding import OnStoreError, SessionBinding
    from stateguard.sessions.identity import Request
    from stateguard.stats import Stats

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Scope)


class Guard:
    """Watches shared state around every request.

    ``watch`` names modules: ``"myapp"``, ``"myapp.*"``, ``"myapp.chat:HISTORY"``; without it, all first-party
    modules are watched (loaded from under the working directory, not installed). ``on_leak`` is ``"log"``,
    ``"raise"``, ``"restore"`` (put shared state back at the end of the guilty request) or a callable that is
    given each new :class:`~stateguard.leak.Leak`. ``mode`` is ``"on"``,
    ``"scope-only"`` (sessions, no watching) or ``"off"``. ``allow`` lists exemptions, each a path with globs
    and a reason: ``"myapp.cache:*  # bounded memo cache"``. ``threshold`` is the mildest severity that is
    logged as a warning and raised. ``locate`` says when to find the line of a change: ``"auto"`` (once
    something has changed), ``"always"``, ``"never"``. ``scope`` is where the per-request session lives:
    ``"contextvar"`` or ``"thread-local"``; ``session_factory`` makes it. ``process=False`` leaves process
    settings out. ``show_values`` shows values in previews instead of their type and size. ``keep`` bounds
    :attr:`leaks`. ``surfaces`` adds to the table of third-party client attributes that are state. ``budget``
    is the share of time that the guard may take before it looks less closely (0.05; 1 means never; it
    is not applied with ``locate="always"``, ``on_leak="raise"`` or ``"restore"``). ``max_pause`` is how long
    one look may last, in seconds (0.002): what takes longer is compared in slices, and a change found later;
    not applied where the budget is not. ``report_to`` says where
    leaks of every severity go: directories and ``redis://`` addresses, for ``stateguard report``, and
    ``"otel"``, ``"prometheus"``, ``"sentry"``; ``sinks`` are other places
    (:class:`~stateguard.report.sink.Sink`). ``warm_up`` is how long a worker may get ready before anything
    is reported or raised: ``20`` requests, or ``"30s"`` from its first request on.
    ``rate_limit`` is how many messages a minute are logged, alarms and milder ones each; 0 for all of them.

    Every option can also be set by ``STATEGUARD_<OPTION>`` or in ``[tool.stateguard]``.

    Raises :class:`~stateguard.errors.ConfigError` for an option that cannot work, and
    :class:`~stateguard.errors.WatchError` for a pattern that matches nothing.
    """

    # In a place of its own: each request asks for it.
    __slots__ = ("__dict__", "__weakref__", "mode")

    def __init__(self, **options: Unpack[Options]) -> None:
        with allowed_to_block():
            self.config: Config = load_config(options)
            factory = self.config.session_factory
            if factory is None:  # imported with the guard that needs it
                from stateguard.agent_session import AgentSession

                factory = AgentSession
        self.mode = self.config.mode
        self.session_factory: Callable[[], Any] = factory
        """Makes the session of each request."""
        self._carrier = self.config.scope
        self._ids = count(1)
        self._prefix = os.urandom(3).hex()
        self._allow = AllowList(self.config.allow)
        self.engine: Engine | None = None
        if self.mode == "on":
            sinks = self._sinks()
            self.engine = Engine(self.config, self._make_judge, sinks)
            self.engine.allowances = self._allow.hits
            if sinks:
                from stateguard.report.sink import TakesFigures

                for sink in sinks:
                    if isinstance(sink, TakesFigures):
                        sink.watch_figures(figures_of(self.engine))
            # Called for every step of every request: without a detour.
            self.begin, self.end = self.engine.begin, self.engine.end
        lifetime.begin(self)

    def _sinks(self) -> list[Sink]:
        sinks = list(self.config.sinks)
        if self.config.report_to:
            from stateguard.report.destinations import open_sinks  # here: only those need it

            sinks += open_sinks(self.config.report_to)
        return sinks

    def _make_judge(self, watcher: Watcher) -> Judge:
        return Judge(watcher, self._allow, Rater(watcher))

    # -- what users ask --------------------------------------------------------------------------

    @property
    def raises(self) -> bool:
        """Whether a proven leak fails the request that made it."""
        return self.config.on_leak == "raise"

    @property
    def leaks(self) -> list[Leak]:
        """Every leak seen, newest last, at most ``keep``; equal ones once per occurrence."""
        return list(self.engine.reporter.leaks) if self.engine else []

    @property
    def counts(self) -> dict[str, int]:
        """How often each distinct leak was seen, by :attr:`Leak.id <stateguard.leak.Leak.id>`."""
        return dict(self.engine.reporter.counts) if self.engine else {}

    @property
    def stats(self) -> Stats:
        """What the guard costs, and how far behind it is: the figures of this process."""
        from stateguard.stats import Stats

        return self.engine.stats() if self.engine else Stats()

    def summary(self) -> str:
        """A table of the distinct leaks, worst first, each with how often it was seen."""
        from stateguard.report.text import render_summary

        counts, latest = self.counts, self.engine.reporter.latest if self.engine else {}
        return render_summary((leak, counts[key]) for key, leak in list(latest.items()) if key in counts)

    def unused_allowances(self) -> list[str]:
        """The entries of ``allow`` that have exempted nothing so far."""
        return self._allow.unused()

    def asgi(self, app: Any) -> Any:
        """``app`` wrapped for ASGI with this guard."""
        from stateguard.asgi import StateGuardMiddleware

        return StateGuardMiddleware(app, guard=self)

    def wsgi(self, app: Any) -> Any:
        """``app`` wrapped for WSGI with this guard."""
        from stateguard.wsgi import StateGuardMiddleware

        return StateGuardMiddleware(app, guard=self)

    def dashboard(
        self, *, token: str, interface: Literal["asgi", "wsgi"] = "asgi", title: str = "Shared-state leaks"
    ) -> Any:
        """The live page of leaks, as an application for you to mount; needs the extra ``report``.

        It shows what this process finds from now on; with ``report_to`` a directory or a Redis, what all
        workers and hosts have reported there. Nothing is served to those who do not know ``token``. Raises
        :class:`~stateguard.errors.ConfigError` for one of fewer than 16 characters, and without the extra.
        """
        from stateguard.report.live import open_site

        site, feed = open_site(token, self.config.report_to, title)
        if self.engine is not None:
            self.engine.reporter.add_sink(feed)
        from stateguard.report.live.mounts import ASGIDashboard, WSGIDashboard

        return WSGIDashboard(site) if interface == "wsgi" else ASGIDashboard(site)

    @contextmanager
    def request(
        self, name: str, *, method: str = "CALL", id: str | None = None, data: object = None
    ) -> Iterator[GuardedRequest]:
        """Guard a block of code as one request: a Lambda handler, a queue job, a tool call, a script.

        Gives it a scope of its own. ``data`` is what came with it (an event, arguments): a leak of strings in
        it is rated ``critical``. In ``raise`` mode, raises :class:`~stateguard.errors.SharedStateMutated` at
        the end, unless the block itself failed.
        """
        with self._request(name, method, id, data=data) as request:
            yield request

    async def run(
        self,
        name: str,
        awaitable: Awaitable[T],
        *,
        method: str = "CALL",
        id: str | None = None,
        data: object = None,
    ) -> T:
        """Await ``awaitable`` as one request, guarded at each step; the rest is as in :meth:`request`.

        For code of which several run on one event loop: ``with guard.request(...)`` around an ``await`` can
        not tell what others do meanwhile.
        """
        with self._request(name, method, id, stepwise=True, data=data) as request:
            if self.engine is None or self.watcher is None:
                return await awaitable
            self.engine.follow(request)
            return await drive(awaitable, request, self.begin, self.end)

    @contextmanager
    def _request(
        self,
        name: str,
        method: str = "CALL",
        id: str | None = None,
        stepwise: bool = False,
        data: object = None,
    ) -> Iterator[GuardedRequest]:
        info = RequestInfo(id or self.new_id(), "call", method, name)
        brought = None
        if data is not None and self.watcher is not None:
            brought = RequestData()
            brought.bring(data)
        request = self.open(info, brought)
        token = request.scope.enter()
        mark = current.set(request)
        failed = True
        try:
            if not stepwise and self.engine is not None:
                request.unseen = in_a_task()
                if request.unseen:
                    self.engine.follow(request)
                self.begin(request)
                self.engine.locals.take(request)
            yield request
            failed = False
        finally:
            if not stepwise and self.engine is not None:
                self.end(request)
                self.engine.locals.check(request)
            self.finish(request)
            with suppress(ValueError):  # a generator-based caller was moved to another context
                current.reset(mark)
            request.scope.leave(token)
            request.scope.close()
        error = None if failed else self.violation(request)
        if error is not None:
            raise error

    def guarded(self, function: Callable[P, T]) -> Callable[P, T]:
        """Decorator: every call of ``function``, plain or ``async``, is a guarded request of that name.

        Raises :class:`~stateguard.errors.ConfigError` for a generator function, whose call runs nothing yet.
        """
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise ConfigError(
                f"guarded({function.__qualname__}): calling a generator function runs none of its code. Put "
                'the loop that uses it into `with guard.request("name"):`'
            )
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
        if iscoroutinefunction(function):

            @wraps(function)
            async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await self.run(name, function(*args, **kwargs))

            return cast("Callable[P, T]", call_async)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.request(name):
                return function(*args, **kwargs)

        return call

    # -- life cycle ------------------------------------------------------------------------------

    @property
    def watcher(self) -> Watcher | None:
        """What is being watched; ``None`` when nothing is."""
        return self.engine.watcher if self.engine is not None else None

    @property
    def finder(self) -> Finder | None:
        """What finds the lines of changes."""
        return self.engine.finder if self.engine is not None else None

    def start(self) -> None:
        """Take the baseline now: call it when the application is ready, before its first request.

        Middlewares do it by themselves, at the end of the ASGI lifespan start-up or at the first request:
        of a state of many thousands of objects beside the requests, in short portions. This call returns when
        all is done, however long it takes.
        """
        if self.engine is not None and self.mode == "on":
            self.engine.start()

    def close(self) -> None:
        """Stop looking, for good: everything the guard has set up is undone. What it found stays readable.

        Task factories, executors and greenlet tracing are given back when the last guard closes.
        """
        self.mode = "off"
        if self.engine is not None:
            self.engine.close()
        lifetime.end(self)

    def add_app(self, app: Any) -> None:
        """Watch an application object and the middleware instances behind it; once per object."""
        if self.engine is not None:
            self.engine.add_app(app)

    def new_id(self) -> str:
        """An id for a request that brought none."""
        return f"{self._prefix}-{next(self._ids)}"

    # -- one request -----------------------------------------------------------------------------

    def open(
        self,
        info: RequestInfo | Callable[[], RequestInfo],
        data: RequestData | None,
        around: GuardedRequest | None = None,
        shared: Scope | None = None,
    ) -> GuardedRequest:
        """Begin a request: a fresh scope, and a place in the list of requests in flight.

        ``info`` may be a function that says which request it is, asked when somebody wants to know.
        ``around`` is the request of another guard around the same exchange, ``shared`` the scope that one has
        opened for it: one exchange has one session.
        """
        outer = current.get()
        while outer is not None and not outer.active:
            outer = outer.outer  # inherited from an earlier request on this connection: not ours to keep
        if around is not None and around.guard.gives_sessions_like(self):
            shared = around.scope
        if shared is not None:
            request = GuardedRequest(self, info, data, shared, outer)
            request.shares_scope = True
        else:
            if self._carrier != "contextvar":
                prepare(self._carrier)
            scope = Scope(info, self.session_factory, self._carrier, current_scope(), None, self)
            request = GuardedRequest(self, info, data, scope, outer)
        if self.engine is not None and self.mode == "on":
            self.engine.enlist(request)
        return request

    def open_scope(self, kind: type[S], info: tuple[Any, ...], exchange: object, parent: Scope | None) -> S:
        """A fresh scope for a request whose steps nobody watches, inside of ``parent``."""
        if self._carrier != "contextvar":
            prepare(self._carrier)
        return kind(info, self.session_factory, self._carrier, parent, exchange, self)

    def bind(
        self,
        store: SessionStore | None,
        session_id: object,
        user_id: Callable[[Request], str | None] | None,
        log: str | None,
        on_store_error: OnStoreError,
    ) -> SessionBinding | None:
        """What binds requests to stored sessions, for a middleware; ``None`` if nothing is to be stored.

        Raises :class:`ConfigError` for options that can not work.
        """
        if store is None and session_id is None and user_id is None:
            return None  # and what binds them need not be imported
        from stateguard.sessions.binding import bind

        return bind(
            store,
            session_id,
            user_id=user_id,
            session_factory=self.config.session_factory,
            log=log,
            on_store_error=on_store_error,
        )

    def gives_sessions_like(self, other: Guard) -> bool:
        """Whether a scope that one of the two opened does for both."""
        return self.session_factory is other.session_factory and self.config.scope == other.config.scope

    def finish(self, request: GuardedRequest) -> None:
        """The request is over."""
        if self.engine is not None:
            self.engine.finish(request)
        else:
            request.active = False

    def abandon(self, request: GuardedRequest) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks."""
        if self.engine is not None:
            self.engine.abandon(request)
        request.active = False
        request.close_scope()

    def violation(self, request: GuardedRequest) -> SharedStateMutated | None:
        """What to raise for ``request`` now, if its leaks call for it; each is handed out once."""
        if not request.violations:
            return None
        from stateguard.report.text import render_leak  # loaded when the baseline was taken

        leaks, request.violations = list(request.violations), ()
        return SharedStateMutated("\n\n".join(map(render_leak, leaks)), leaks)

    def note_failure(self, doing: str) -> None:
        """For the middlewares: something of the guard's own has failed beside the looking."""
        if self.engine is not None:
            self.engine.note_failure(doing)

    def after_fork(self) -> None:
        """For :mod:`stateguard.lifetime`: this is a new process, which serves nobody yet."""
        self._prefix = os.urandom(3).hex()
        if self.engine is not None:
            self.engine.after_fork()
