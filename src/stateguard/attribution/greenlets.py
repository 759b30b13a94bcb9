"""Greenlets (gevent workers): switches are observable, so a stretch pauses where its greenlet gives way.

``greenlet.settrace`` calls back at every switch; between two switches one greenlet runs alone, exactly as
one coroutine does between two suspensions.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest

_stacks: weakref.WeakKeyDictionary[Any, list[GuardedRequest]] = weakref.WeakKeyDictionary()
_previous: Any = None
_tracing = False
_busy = False


def switching() -> bool:
    """Whether this process runs greenlets under gevent or eventlet."""
    return "gevent.hub" in sys.modules or "eventlet.hubs" in sys.modules


def follow_switches() -> None:
    """Be told of every switch on this thread; keeps a trace function that was there before."""
    global _previous, _tracing
    if _tracing:
        return
    import greenlet

    _previous = greenlet.settrace(_switched)
    _tracing = True


def unfollow_switches() -> None:
    """Give the trace function back."""
    global _previous, _tracing
    if not _tracing:
        return
    import greenlet

    if greenlet.gettrace() is _switched:
        greenlet.settrace(_previous)
    _previous, _tracing = None, False
    _stacks.clear()


def entered(request: GuardedRequest) -> None:
    """A stretch begins on the running greenlet."""
    import greenlet

    _stacks.setdefault(greenlet.getcurrent(), []).append(request)


def left(request: GuardedRequest) -> None:
    """The stretch on the running greenlet has ended."""
    import greenlet

    here = greenlet.getcurrent()
    stack = _stacks.get(here)
    if stack and request in stack:
        stack.remove(request)
        if not stack:
            del _stacks[here]


def _switched(event: str, args: Any) -> None:
    global _busy
    if _previous is not None:
        _previous(event, args)
    if _busy or event not in ("switch", "throw"):
        return
    origin, target = args
    going, coming = _stacks.get(origin), _stacks.get(target)
    if not going and not coming:
        return
    _busy = True
    try:
        # Only what was innermost on each side changes hands: pausing looks, resuming looks again.
        if going:
            _pause(going[-1])
        if coming:
            _resume(coming[-1])
    finally:
        _busy = False


def _pause(request: GuardedRequest) -> None:
    """The stretch ends, to be resumed."""
    engine = request.guard.engine
    with engine.turn.lock:
        if not engine.looking:
            engine.look()
            engine.ledger.pop(request)


def _resume(request: GuardedRequest) -> None:
    engine = request.guard.engine
    with engine.turn.lock:
        if not engine.looking:
            engine.look(brief=True)
            engine.ledger.push(request)
