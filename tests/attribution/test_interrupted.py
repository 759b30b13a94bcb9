"""What runs in the middle of a look: finalizers, signal handlers; and a stack that is used up."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
import types

import pytest

from tests.attribution.driver import guarding

MODULE = "tests.attribution.interrupted_state"

SOURCE = """
import threading

LOG = []
BIG = []
LOCK = threading.Lock()

class Finalized:
    def __del__(self):
        with LOCK:
            pass

def deepest(n):
    try:
        return down(n)
    except RecursionError:
        return None

def down(n):
    if n == 0:
        return 0
    return down(n - 1) + 1
"""


@pytest.fixture
def state():
    module = types.ModuleType(MODULE)
    module.__file__ = "interrupted_state.py"
    sys.modules[MODULE] = module
    exec(compile(SOURCE, module.__file__, "exec"), module.__dict__)
    yield module
    del sys.modules[MODULE]


def test_a_finalizer_waits_for_a_lock_that_a_finishing_request_holds(state):
    with guarding(watch=[MODULE], locate="never") as guard:
        guard.start()
        with guard.request("keeps"):
            state.LOG.append(state.Finalized())
        holding = threading.Event()

        def other():
            with state.LOCK:
                holding.set()
                time.sleep(0.2)
                with guard.request("other"):
                    pass

        thread = threading.Thread(target=other, daemon=True)
        thread.start()
        assert holding.wait(5)
        with guard.request("drops"):
            state.LOG.clear()
        thread.join(10)
        assert not thread.is_alive()


class OutOfTime(Exception):
    pass


def test_what_a_signal_handler_raises_reaches_the_application(state):
    def handler(number, frame):
        raise OutOfTime

    state.BIG.extend([i] for i in range(100_000))
    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # what is raised in a callback of the collector (hypothesis has one) reaches nobody
    try:
        with guarding(watch=[MODULE], locate="never") as guard:
            guard.start()

            def limited(i):
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0003 * i)
                with guard.request("limited"):
                    state.BIG[i].append(1)
                time.sleep(2)

            for i in range(30):
                with pytest.raises(OutOfTime):
                    limited(i)
            assert guard.engine.failures == {}
            assert not guard.engine.ledger.threads()
            with guard.request("last"):
                state.LOG.append(1)
            assert guard.leaks[-1].path == f"{MODULE}.LOG"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()


def test_looking_goes_on_after_the_stack_was_used_up(state):
    limit = sys.getrecursionlimit()
    with guarding(watch=[MODULE], locate="always") as guard:
        guard.start()
        with guard.request("deep"):
            for n in range(limit - 150, limit, 10):
                state.deepest(n)
        assert guard.engine.failures == {}
        with guard.request("last"):
            state.LOG.append(1)
        assert guard.leaks[-1].path == f"{MODULE}.LOG"
