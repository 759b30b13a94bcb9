"""Entries of a WSGI request into the application: the call, each piece of the body, its end.

A server may serve another request on the thread between two of them, so each undoes what it has done.
"""

from __future__ import annotations

from threading import get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING

from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.unseen import RUNNING
from stateguard.scope import entered, leave

if TYPE_CHECKING:
    from contextvars import Token as VarToken

    from stateguard.engine import Engine
    from stateguard.passing import PassingScope
    from stateguard.scope import Entry, Scope


class Stretch:
    """One entry into the application on this thread: scope and account set before, undone after."""

    __slots__ = ("_mark", "_request", "_token")

    def __init__(self, request: GuardedRequest) -> None:
        self._request = request
        self._mark: VarToken[GuardedRequest | None] | None = None
        self._token: Entry | None = None

    def enter(self) -> None:
        """Code of the application is about to run for the request."""
        request = self._request
        self._token = request.scope.enter()
        self._mark = current.set(request)
        engine = request.guard.engine
        if engine is not None:
            engine.begin(request)

    def leave(self) -> None:
        """It has run."""
        request = self._request
        engine = request.guard.engine
        try:
            if engine is not None:
                engine.end(request)
        finally:  # a signal handler may have raised: the next request on this thread must not find this one
            mark, self._mark = self._mark, None
            if mark is not None:
                # Four times per request: contextlib.suppress takes longer than all the rest.
                try:  # noqa: SIM105
                    current.reset(mark)
                except ValueError:  # this piece ran in another context than the call
                    pass
            token, self._token = self._token, None
            if token is not None:
                request.scope.leave(token)

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
            request.data.let_go(keep=request.guard.config.show_values)

    def abandon(self) -> None:
        """It never will. Called by a finalizer, at any point of any code."""
        self._request.guard.abandon(self._request)


class ScopeStretch:
    """The same for a request that nobody watches: a scope, and nothing else."""

    __slots__ = ("_here", "_scope", "_token")

    silent = True

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._here: VarToken[Entry | None] | None = None
        self._token: Entry | None = None

    def enter(self) -> None:
        """Some four times per request: the scope does it by itself where it is not as simple as usual."""
        scope = self._scope
        if scope.carrier == "contextvar" and entered.get() is None:
            self._here = entered.set(scope)
        else:
            self._token = scope.enter()

    def leave(self) -> None:
        """Undo :meth:`enter`."""
        token, here = self._token, self._here
        if token is not None:  # first: it was entered last, by a piece that asks for another piece
            self._token = None
            self._scope.leave(token)
        elif here is not None:
            self._here = None
            leave(here, self._scope)

    def moved(self) -> None:
        """Nothing was noted of any thread."""

    responding = moved

    def objection(self) -> BaseException | None:
        """Nothing is ever raised."""
        return None

    def finish(self) -> None:
        """The request has ended."""
        self._scope.close()

    def abandon(self) -> None:
        """It never will. Called by a finalizer, at any point of any code."""
        self._scope.close()


class PassingStretch(ScopeStretch):
    """The same for a request that is let pass: a scope, and an eye on when to look closely."""

    __slots__ = ("_engine", "_unseen")

    _scope: PassingScope

    def __init__(self, scope: PassingScope, engine: Engine) -> None:
        super().__init__(scope)
        self._engine = engine
        self._unseen = 0
        """The thread on which a piece is under way whose beginning nobody was told of."""

    def enter(self) -> None:
        """As above; and whoever looks next is told, or may look."""
        super().enter()
        scope, engine = self._scope, self._engine
        if scope.account is not None:
            scope.account.mark = current.set(scope.account)
        elif scope.stepped != RUNNING:  # else another thread is at it as well
            before, scope.stepped = scope.stepped, RUNNING  # first, and then the gait is asked for
            if engine.resting:
                self._unseen = get_ident()
                return
            scope.stepped = before
        engine.passing.begin(scope)

    def leave(self) -> None:
        """Undo :meth:`enter`."""
        scope, engine = self._scope, self._engine
        try:
            if self._unseen == get_ident():
                self._unseen = 0
                scope.stepped = engine.unseen.looks
                if perf_counter_ns() >= engine.pace.next_look or not engine.resting:
                    engine.passing.end(scope)
            else:
                engine.passing.end(scope)
        finally:  # a signal handler may have raised
            if scope.account is not None:
                engine.passing.give_back(scope.account)
            super().leave()

    def finish(self) -> None:
        """The request has ended."""
        scope, passing = self._scope, self._engine.passing
        passing.over(scope)
        passing.forget(scope)
        scope.close()

    def abandon(self) -> None:
        """It never will. Called by a finalizer, at any point of any code."""
        self._engine.passing.abandon(self._scope)
