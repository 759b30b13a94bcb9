"""Alibis of threads that wait for their turn to look: no code of the application runs on them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from stateguard.attribution import waiting
from stateguard.attribution.ledger import Ledger
from stateguard.parallel import PARALLEL
from stateguard.turn import Turn
from tests.attribution.test_ledger import names, request_named


class Waiter(threading.Thread):
    """Inside a stretch on a thread without a clock; wants a turn, and keeps it until it is told."""

    def __init__(self, ledger: Ledger, turn: Turn, timeout: float = 60) -> None:
        super().__init__()
        self.ledger, self.turn, self.timeout = ledger, turn, timeout
        self.request = request_named("there")
        self.its_turn, self.told, self.gone_on = threading.Event(), threading.Event(), threading.Event()
        self.excused: set[int] = set()
        self.start()
        # There is no event for this: the thread itself cannot say that it is waiting.
        while not self.waits() and not self.gone_on.is_set():
            assert self.is_alive()
            time.sleep(0.001)

    def waits(self) -> bool:
        frame = sys._current_frames().get(self.ident or 0)
        return frame is not None and frame.f_code is Turn.take.__code__ and bool(self.ledger.waiting._since)

    def run(self) -> None:
        self.ledger.push(self.request)
        self.ledger._clocks.forget(threading.get_ident())
        lock = self.turn.take(self.timeout, self.ledger.waiting)
        if lock is not None:
            self.ledger.waiting.over()
            self.excused = self.ledger.waiting.excused(full=True)
            self.its_turn.set()
            self.told.wait(60)
            self.ledger.waiting.done()
            self.excused -= self.ledger.waiting.excused(full=True)
            lock.release()
        else:
            self.gone_on.set()
            self.told.wait(60)
        self.ledger.pop(self.request)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(waiting, "switching", lambda: False)  # other tests import gevent
    ledger, here = Ledger(), request_named("here")
    ledger.push(here)
    yield ledger
    ledger.pop(here)


def test_one_that_waits_since_before_the_look_before_has_an_alibi(ledger: Ledger) -> None:
    turn = Turn()
    with turn.lock:
        ledger.about_to_look()  # under way when the other begins to wait
        waiter = Waiter(ledger, turn)
        ledger.about_to_look()
        assert names(ledger.running()) == {"here", "there"}
        ledger.about_to_look(full=False)
        assert names(ledger.running()) == {"here"}
        assert ledger.excused == {waiter.ident}
        assert names(ledger.running(full=True)) == {"here", "there"}
        ledger.about_to_look()
        assert names(ledger.running(full=True)) == {"here"}
    assert waiter.its_turn.wait(60)
    waiter.told.set()
    waiter.join(60)
    assert waiter.excused == {waiter.ident}


def test_one_that_has_given_up_waiting_has_none(ledger: Ledger) -> None:
    turn = Turn()
    with turn.lock:
        waiter = Waiter(ledger, turn, timeout=0.5)
        assert waiter.gone_on.wait(60)
        ledger.about_to_look()
        ledger.about_to_look()
        assert names(ledger.running()) == {"here", "there"}
    waiter.told.set()
    waiter.join(60)


def test_a_lock_is_given_back_where_a_signal_handler_raises_once_it_has_been_taken(ledger: Ledger) -> None:
    class Interrupted(BaseException):
        pass

    class Interrupting(Turn):
        @property
        def queued(self) -> int:
            raise Interrupted

    turn = Interrupting.__new__(Interrupting)
    turn.lock, turn.discarded = threading.RLock(), []
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with turn.lock:
            held.set()
            enough.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    threading.Timer(0.1, enough.set).start()
    with pytest.raises(Interrupted):
        turn.take(60, ledger.waiting)
    holder.join(60)
    assert not turn.lock._is_owned()


def test_one_that_only_says_that_it_waits_has_none(ledger: Ledger) -> None:
    """A signal handler has raised something, or runs."""
    began, told = threading.Event(), threading.Event()

    def run() -> None:
        ledger.waiting.begin()
        began.set()
        told.wait(60)

    thread = threading.Thread(target=run)
    thread.start()
    assert began.wait(60)
    ledger.about_to_look()
    ledger.about_to_look()
    # On a free-threaded build no stack may be looked at; signal handlers run on the main thread alone.
    assert ledger.waiting.excused(full=True) == ({thread.ident} if PARALLEL else set())
    told.set()
    thread.join(60)


def test_under_gevent_nobody_has(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Turn()
    with turn.lock:
        waiter = Waiter(ledger, turn)
        ledger.about_to_look()
        ledger.about_to_look()
        assert ledger.waiting.excused(full=True) == {waiter.ident}
        monkeypatch.setattr(waiting, "switching", lambda: True)
        assert ledger.waiting.excused(full=True) == set()
        monkeypatch.setattr(waiting, "switching", lambda: False)
    waiter.told.set()
    waiter.join(60)
