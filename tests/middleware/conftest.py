"""A watched module made for one test, guards that are closed afterwards, and the ways to wrap."""

from __future__ import annotations

import itertools
import sys
import types

import pytest

from stateguard import Guard
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.passing import SAMPLED
from stateguard.scope import by_thread
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard

SOURCE = """
HISTORY = []
TABLE = {}
USER = None

class Agent:
    notes = []
    def __init__(self):
        self.messages = []

AGENT = Agent()

def leak(value="tainted"):
    HISTORY.append(value)
"""

WAYS = ["on", "raise", "scope-only", "off", "twice", "two guards", "passing", "two passing"]
_numbers = itertools.count()


@pytest.fixture
def state():
    """An application module with shared state."""
    name = f"shared_state_{next(_numbers)}"
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(SOURCE, f"{name}.py", "exec"), vars(module))
    yield module
    del sys.modules[name]


@pytest.fixture
def make_guard(state):
    """Guards that watch ``state``."""
    made = []

    def make(**options):
        guard = Guard(**{"watch": [state.__name__], **options})
        made.append(guard)
        return guard

    yield make
    for guard in made:
        guard.close()


@pytest.fixture
def resting(make_guard):
    """A guard whose requests pass."""
    return rest(make_guard(locate="never", process=False))


@pytest.fixture
def no_scopes_by_thread(monkeypatch):
    """Once any scope of the process has been one of a thread's, no request takes the short way."""
    monkeypatch.setattr(by_thread, "used", False)


def rest(guard):
    """Let the guard's requests pass from now on, as a saturated server's do, until :func:`wake`."""
    guard.start()
    guard.engine.pace.gait = "sparse"
    guard.engine.pace.next_look = guard.engine.pace.next_weighing = 1 << 62
    guard.engine.modules = len(sys.modules)
    guard.engine.passing.weigh()
    assert guard.engine.passing.open
    return guard


def sample_next(guard):
    """Take the time of the request that begins next, as of one in some."""
    while (guard.engine.tally.requests + 1) % SAMPLED:
        guard.engine.tally.requests += 1


def wake(guard):
    """There is room to look closely again."""
    guard.engine.pace.gait = "strict"


def _wrapper(middleware, way, make_guard):
    def wrap(app):
        if way == "twice":
            guard = make_guard()
            return middleware(middleware(app, guard=guard), guard=guard)
        if way == "two guards":
            return middleware(middleware(app, guard=make_guard()), guard=make_guard())
        if way == "passing":
            return middleware(app, guard=rest(make_guard()))
        if way == "two passing":
            return middleware(middleware(app, guard=rest(make_guard())), guard=rest(make_guard()))
        if way == "raise":
            return middleware(app, guard=make_guard(on_leak="raise"))
        return middleware(app, guard=make_guard(mode=way))

    return wrap


@pytest.fixture(params=WAYS)
def wrap_asgi(request, make_guard):
    """Every way to put the guard around an ASGI application."""
    return _wrapper(AsgiGuard, request.param, make_guard)


@pytest.fixture(params=WAYS)
def wrap_wsgi(request, make_guard):
    """Every way to put the guard around a WSGI application."""
    return _wrapper(WsgiGuard, request.param, make_guard)
