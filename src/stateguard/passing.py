"""Requests that are let pass: on a saturated server, most are served while nobody looks.

While looks are sparse, nothing can be proven of a single step. Then a request gets a scope, is remembered as
a suspect of the next look, and costs next to nothing else. It is *taken up*, as a guarded request like any
other, at its first step after looks have become closer.
"""

from __future__ import annotations

import sys
import types
from contextlib import suppress
from functools import partial
from threading import Lock
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from stateguard.attribution import pieces
from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.steps import awaited, drive
from stateguard.attribution.unseen import RUNNING
from stateguard.leak import SUSPECTS
from stateguard.request_data import RequestData
from stateguard.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from contextvars import Token

    from stateguard.engine import Engine

T = TypeVar("T")

SAMPLED = 64
"""Of so many requests that are let pass, the time of one is taken, which costs some 15 microseconds. What is
due once in a while is seen to after a look as well, however few requests come."""


class PassingScope(Scope):
    """The scope of a request that is let pass.

    ``origin`` is what came with it, for a guard that has not taken note of it yet; ``began`` is when that was
    (``perf_counter_ns``), if the time of this one is taken. ``account`` is the guarded request, once looks
    are taken around each of its steps; ``suspect`` is who is named until then where a change may have been
    this one's. ``stepped`` is how many looks at everything had begun when the latest step ended that nobody
    looked around, or :data:`~stateguard.attribution.unseen.RUNNING` while one is under way.
    """

    __slots__ = ()

    account: GuardedRequest | None
    began: int
    origin: tuple[Any, ...]
    stepped: int
    suspect: GuardedRequest | None


class Passing:
    """The requests that one engine lets pass, each by its scope."""

    __slots__ = ("__dict__", "__weakref__", "_engine", "open", "scopes", "weighing")  # as the engine's

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.open = False
        """Whether the next request may pass, as far as was known at the latest. Whether a step may is asked
        anew when it begins, so that being wrong costs no more than the body of one request, unnoted."""
        self.scopes: dict[PassingScope, PassingScope] = {}
        """Those under way."""
        self.weighing = Lock()
        """Held by who sees to what is due once in a while: the others need not queue for it."""

    def weigh(self) -> None:
        """Find out whether requests may pass, without anybody looking around each of their steps."""
        engine = self._engine
        self.open = engine.resting and not engine.warm_up.active and len(sys.modules) == engine.modules

    def let(self, scope: PassingScope, origin: tuple[Any, ...]) -> None:
        """The request of ``scope`` begins, which ``origin`` came with."""
        scope.account = scope.suspect = None
        scope.origin, scope.began, scope.stepped = origin, 0, -1
        self.scopes[scope] = scope
        tally = self._engine.tally
        tally.requests += 1
        if not tally.requests % SAMPLED:
            try:
                self.sample(scope)
            except BaseException:  # a signal handler's
                self.scopes.pop(scope, None)
                raise

    def sample(self, scope: PassingScope) -> None:
        """The time of this one is taken."""
        self.weigh()
        self._engine.follow(None)
        scope.began = perf_counter_ns()

    @types.coroutine
    def serve(
        self, awaitable: Awaitable[T], scope: PassingScope, origin: tuple[Any, ...]
    ) -> Generator[Any, Any, T]:
        """Await ``awaitable`` in place for the request of ``scope``, from its beginning to its end.

        As long as it may pass and nothing is thrown in, a step costs next to nothing: what there is to
        know of it is noted on the scope, which only its own steps write to.
        """
        coroutine: Any = awaitable if type(awaitable) is types.CoroutineType else awaited(awaitable)
        scope.account = scope.suspect = None
        scope.origin, scope.began, scope.stepped = origin, 0, -1
        engine = self._engine
        pace, finder, unseen, tally, scopes = (
            engine.pace, engine.finder, engine.unseen, engine.tally, self.scopes
        )  # fmt: skip
        value: Any = None
        thrown: list[BaseException] = []
        stepped = -1
        try:
            # As in `let` and in `over`, said again here: a call takes as long as all that is done in it.
            scopes[scope] = scope
            tally.requests += 1
            if not tally.requests % SAMPLED:
                self.sample(scope)
            while not thrown:
                scope.stepped = RUNNING  # before the gait is asked for: another thread may change it
                if pace.gait != "sparse" or finder.armed or not engine.started:
                    break
                try:
                    yielded = coroutine.send(value)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                finally:
                    value = None
                    scope.stepped = stepped = unseen.looks
                    if perf_counter_ns() >= pace.next_look or finder.armed or pace.gait != "sparse":
                        self.end(scope)
                try:
                    value = yield yielded
                except BaseException as error:
                    thrown.append(error)
            scope.stepped = stepped
            steps = self.go_on(coroutine, scope, value, thrown)
            value = None
            return (yield from steps)  # type: ignore[no-any-return]
        finally:
            if scope.account is None and scope.suspect is None and not scope.began:
                # Since it began nobody has looked after a step of it, nor named it.
                since = unseen.since
                if stepped >= unseen.covered and len(since) < SUSPECTS:
                    since[scope] = None
                    if since is not unseen.since:
                        unseen.note(scope)  # a look has begun meanwhile
                scopes.pop(scope, None)
            else:
                self.over(scope)

    def go_on(
        self, coroutine: Any, scope: PassingScope, value: Any, thrown: list[BaseException]
    ) -> Generator[Any, Any, Any]:
        """Drive it from here on, as a guarded request if need be: with ``value`` sent, or that thrown in."""
        return drive(coroutine, scope, self.begin, self.end, value, thrown)

    def begin(self, scope: PassingScope) -> None:
        """A step of it begins: on the account of a guarded request, if looks have become closer."""
        engine = self._engine
        try:
            if scope.account is not None:
                engine.begin(scope.account)
                return
            engine.unseen.begins(scope)  # before the gait is asked for
            if engine.resting or scope.closed:  # closed: a body that is closed twice
                engine.unseen.note(scope)
                return
            request = self._take_up(scope)
            engine.unseen.ends(scope)
            engine.begin(request)
        except Exception:
            engine.failed("letting a request pass")

    def end(self, scope: PassingScope) -> None:
        """The step has ended."""
        engine = self._engine
        try:
            request = scope.account
            if request is None and scope.closed:
                request = scope.suspect  # taken up here, and another thread has ended it meanwhile
            if request is not None:
                engine.unseen.over(scope)  # it may have begun before another entry of it took the request up
            else:
                engine.unseen.note(scope)  # first: a look that is being completed keeps what is under way
                engine.unseen.ends(scope)
                if perf_counter_ns() < engine.pace.next_look and engine.resting:
                    return
                request = self.request(scope)
            engine.end(request)
            if scope.closed:
                self.gone(scope)
        except Exception:
            engine.failed("letting a request pass")

    def over(self, scope: PassingScope) -> None:
        """The request has ended."""
        engine, request = self._engine, scope.account
        try:
            try:
                if scope in self.scopes and scope.stepped >= engine.unseen.covered:
                    engine.unseen.note(scope)
            finally:
                self.scopes.pop(scope, None)
            if request is None:
                if scope.suspect is None and not scope.began:
                    return
                now = perf_counter_ns()
                if scope.began:  # for all that began since the one before
                    began, scope.began = scope.began, 0
                    engine.pace.served(SAMPLED * (now - began))
                if not engine.reporter.aftermath.following:
                    if now >= engine.pace.next_weighing and self.weighing.acquire(blocking=False):
                        try:
                            engine.finish(self.request(scope))
                            self.weigh()
                        finally:
                            self.weighing.release()
                    return
                request = self.request(scope)
            engine.finish(request)
            self.give_back(request)
            scope.account = None
            self.weigh()
        except Exception:
            engine.failed("letting a request pass")

    def gone(self, scope: PassingScope) -> None:
        """It is over and closed. Another thread that is still at it may have taken it up only then."""
        engine, request = self._engine, scope.suspect
        if request is not None and (scope.account is not None or id(request) in engine.active):
            scope.account = request
            self.over(scope)

    @staticmethod
    def give_back(request: GuardedRequest, mark: Token[GuardedRequest | None] | None = None) -> None:
        """What runs here from now on does not work for ``request``, if that had been taken up.

        ``mark`` is of when it was made the current one, if that was not when it was taken up.
        """
        if mark is None:
            mark, request.mark = request.mark, None
        if mark is not None:
            with suppress(ValueError):  # the rest of it ran in another context
                current.reset(mark)
        found = current.get()
        if found is not None and not found.active:
            current.set(None)

    def abandon(self, scope: PassingScope) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks."""
        try:
            if scope.stepped >= self._engine.unseen.covered:
                self._engine.unseen.note(scope)
        finally:
            self.scopes.pop(scope, None)
        scope.origin = scope.origin[:4]
        if scope.account is not None:
            self._engine.abandon(scope.account)
        scope.close()

    def _take_up(self, scope: PassingScope) -> GuardedRequest:
        """From here on, whoever looks closely sees each step of this request as well."""
        request = scope.account = self.request(scope)
        if scope.stepped >= self._engine.unseen.covered:
            self._engine.unseen.note(scope)
        if scope.stepped != RUNNING:  # else another thread is inside a piece of the body
            self.scopes.pop(scope, None)
        self._engine.active[id(request)] = request
        innermost, found = None, current.get()
        while found is not None and found.active and _is_inside(found.scope, scope):
            innermost, found = found, found.outer
        request.outer = found if found is not None and found.active else None
        if innermost is None:
            request.mark = current.set(request)  # for the rest of the task, or of what copies its context
        else:
            innermost.outer = request  # it runs around those, which stay current
        self._engine.follow(request)
        return request

    def forget(self, scope: PassingScope) -> None:
        """The WSGI request has ended. Who is suspected of it, now or later, must not keep the environ."""
        watcher = self._engine.watcher
        shown = watcher is not None and watcher.shows_values
        suspect = self.request(scope) if shown else scope.suspect
        if suspect is not None and suspect.data is not None:
            suspect.data.let_go(keep=shown)
        scope.origin = scope.origin[:4]

    @staticmethod
    def request(one: GuardedRequest | PassingScope) -> GuardedRequest:
        """Who is suspected: the guarded request, made up for one that has not been taken up."""
        if isinstance(one, GuardedRequest):
            return one
        if one.account is not None:
            return one.account
        request = one.suspect
        if request is None:
            info: Any = partial(getattr, one, "request")
            request = one.suspect = GuardedRequest(one.owner, info, RequestData(*one.origin), one, None)
        request.active = not one.closed
        return request


pieces.boundary(Passing.serve.__code__)


def _is_inside(scope: Scope | None, outer: Scope) -> bool:
    while scope is not None:
        if scope is outer:
            return True
        scope = scope.parent
    return False
