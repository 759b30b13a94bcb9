"""Requests that are let pass: on a saturated server, most are served while nobody looks.

While looks are sparse, nothing can be proven of a single step. Then a request gets a scope, is remembered as
a suspect of the next look, and costs next to nothing else. It is *taken up*, as a guarded request like any
other, at its first step after looks have become closer.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.attribution.request import GuardedRequest, current
from stateguard.leak import SUSPECTS
from stateguard.request_data import RequestData

if TYPE_CHECKING:
    from stateguard.engine import Engine
    from stateguard.scope import Scope

SAMPLED = 16
"""Of so many requests that are let pass, the time of one is taken."""


class Passing:
    """The requests that one engine lets pass, each by its scope."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.scopes: dict[int, Scope] = {}
        """Those under way."""

    def possible(self) -> bool:
        """Whether a request that begins now may pass, without anybody looking around each of its steps."""
        engine = self._engine
        return engine.resting and not engine.warm_up.active and len(sys.modules) == engine.modules

    def let(self, scope: Scope) -> None:
        """The request of ``scope`` begins."""
        engine = self._engine
        tally, window = engine.tally, engine.window
        tally.requests += 1
        self.scopes[id(scope)] = scope
        if len(window) < SUSPECTS:
            window[id(scope)] = scope
        if not tally.requests % SAMPLED:
            engine.follow(None)
            scope.began = perf_counter_ns()

    def begin(self, scope: Scope) -> None:
        """A step of it begins: on the account of a guarded request, if looks have become closer."""
        engine = self._engine
        try:
            if scope.account is not None:
                engine.begin(scope.account)
                return
            engine.unseen.begins(scope)  # before the gait is asked for
            if engine.resting:
                engine.unseen.note(scope)
                if engine.pace.slicing:
                    engine.note_sliced(scope)
                return
            request = self._take_up(scope)
            engine.unseen.ends(scope)
            engine.begin(request)
        except Exception:
            engine.failed("letting a request pass")

    def end(self, scope: Scope) -> None:
        """The step has ended."""
        engine = self._engine
        try:
            request = scope.account
            if request is None:
                engine.unseen.ends(scope)
                engine.unseen.note(scope)  # a look may have been taken meanwhile
                if perf_counter_ns() < engine.pace.next_look and engine.resting:
                    return
                request = self.request(scope)
            engine.end(request)
        except Exception:
            engine.failed("letting a request pass")

    def over(self, scope: Scope) -> None:
        """The request has ended."""
        self.scopes.pop(id(scope), None)
        request = scope.account
        if request is None:
            now = perf_counter_ns()
            if scope.began:  # for all that began since the one before
                self._engine.pace.served(SAMPLED * (now - scope.began))
            if now < self._engine.pace.next_weighing and not self._engine.reporter.aftermath.following:
                return
            request = self.request(scope)
        self._engine.finish(request)
        self.give_back(request)

    @staticmethod
    def give_back(request: GuardedRequest) -> None:
        """What runs here from now on does not work for ``request``, which had been taken up."""
        mark, request.mark = request.mark, None
        if mark is None:
            return
        with suppress(ValueError):  # the rest of it ran in another context
            current.reset(mark)
        found = current.get()
        if found is not None and not found.active:
            current.set(None)

    def abandon(self, scope: Scope) -> None:
        """The request will never end properly. Called by a finalizer, at any point of any code: no locks."""
        self.scopes.pop(id(scope), None)
        scope.origin = scope.origin[:4]
        if scope.account is not None:
            self._engine.abandon(scope.account)
        scope.close()

    def _take_up(self, scope: Scope) -> GuardedRequest:
        """From here on, whoever looks closely sees each step of this request as well."""
        request = scope.account = self.request(scope)
        self.scopes.pop(id(scope), None)
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

    @staticmethod
    def request(one: GuardedRequest | Scope) -> GuardedRequest:
        """Who is suspected: the guarded request, made up for one that has not been taken up."""
        if isinstance(one, GuardedRequest):
            return one
        request: GuardedRequest | None = one.account or one.suspect
        if request is None:
            info: Any = partial(getattr, one, "request")
            request = one.suspect = GuardedRequest(one.owner, info, RequestData(*one.origin), one, None)
        request.active = not one.closed
        return request


def _is_inside(scope: Scope | None, outer: Scope) -> bool:
    while scope is not None:
        if scope is outer:
            return True
        scope = scope.parent
    return False
