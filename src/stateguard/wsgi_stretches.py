"""Entries of a WSGI request into the application: the call, each piece of the body, its end.

A server may serve another request on the thread between two of them, so each undoes what it has done.
"""

from __future__ import annotations

from contextvars import Token as VarToken
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.attribution.request import GuardedRequest, current
from stateguard.attribution.unseen import RUNNING
from stateguard.scope import entered, leave

if TYPE_CHECKING:
    from stateguard.engine import Engine
    from stateguard.passing import PassingScope
    from stateguard.scope import Entry, Scope


class Stretch:
    """Entries into the application for one request: scope and account set before, undone after.

    What one entry has to undo is its own: a piece may ask for another piece, and threads for one each.
    """

    __slots__ = ("_request",)

    def __init__(self, request: GuardedRequest) -> None:
        self._request = request

    def enter(self) -> Any:
        """Code of the application is about to run for the request. What :meth:`leave` is to be given."""
        request = self._request
        token = request.scope.enter()
        entry = token, current.set(request)
        engine = request.guard.engine
        if engine is not None:
            try:
                engine.begin(request)
            except BaseException:  # a signal handler's
                self._undo(*entry)
                raise
        return entry

    def leave(self, entry: Any) -> None:
        """It has run."""
        request = self._request
        engine = request.guard.engine
        try:
            if engine is not None:
                engine.end(request)
        finally:  # a signal handler may have raised: the next request on this thread must not find this one
            self._undo(*entry)

    def _undo(self, token: Entry, mark: VarToken[GuardedRequest | None]) -> None:
        # Four times per request: contextlib.suppress takes longer than all the rest.
        try:  # noqa: SIM105
            current.reset(mark)
        except ValueError:  # a greenlet has gone on in another context
            pass
        self._request.scope.leave(token)

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

    __slots__ = ("_scope",)

    silent = True

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def enter(self) -> Any:
        """Some four times per request: the scope does it by itself where it is not as simple as usual."""
        scope = self._scope
        if scope.carrier == "contextvar" and entered.get() is None:
            return entered.set(scope)
        return scope.enter()

    def leave(self, entry: Any) -> None:
        """Undo :meth:`enter`."""
        if type(entry) is VarToken:
            leave(entry, self._scope)
        else:
            self._scope.leave(entry)

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

    __slots__ = ("_engine",)

    _scope: PassingScope

    def __init__(self, scope: PassingScope, engine: Engine) -> None:
        super().__init__(scope)
        self._engine = engine

    def enter(self) -> Any:
        """As above; and whoever looks next is told, or may look."""
        entry = super().enter()
        scope, engine = self._scope, self._engine
        account = scope.account
        mark = None
        try:
            if account is not None:
                mark = current.set(account)
            elif scope.stepped != RUNNING and scope in engine.passing.scopes:
                # Else another entry is under way, or the request is over: then it is noted each time.
                before, scope.stepped = scope.stepped, RUNNING  # first, and then the gait is asked for
                if engine.resting:
                    return entry, mark, True
                scope.stepped = before
            engine.passing.begin(scope)
        except BaseException:  # a signal handler's
            self._undo(entry, mark)
            raise
        return entry, mark, False

    def leave(self, entry: Any) -> None:
        """Undo :meth:`enter`."""
        outer, mark, unseen = entry
        scope, engine = self._scope, self._engine
        try:
            if unseen:
                scope.stepped = engine.unseen.looks
                if perf_counter_ns() < engine.pace.next_look and engine.resting and not scope.closed:
                    return
            engine.passing.end(scope)
        finally:  # a signal handler may have raised
            self._undo(outer, mark)

    def _undo(self, entry: Any, mark: VarToken[GuardedRequest | None] | None) -> None:
        request = self._scope.suspect  # also if another thread has ended it meanwhile
        try:
            if request is not None:
                self._engine.passing.give_back(request, mark)
        finally:
            super().leave(entry)

    def finish(self) -> None:
        """The request has ended."""
        scope, passing = self._scope, self._engine.passing
        try:
            passing.over(scope)
            passing.forget(scope)
        finally:
            passing.scopes.pop(scope, None)
            scope.close()
        passing.gone(scope)

    def abandon(self) -> None:
        """It never will. Called by a finalizer, at any point of any code."""
        self._engine.passing.abandon(self._scope)
