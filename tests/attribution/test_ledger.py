"""Alibis: a thread that has used no processor time since the last comparison has written nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stateguard.attribution.ledger import Ledger
from stateguard.attribution.request import GuardedRequest


def request_named(name: str) -> GuardedRequest:
    return GuardedRequest(name, lambda: None, None, None, None)


class Worker:
    """A thread inside a stretch that works only when it is told to."""

    def __init__(self, ledger: Ledger, request: GuardedRequest) -> None:
        self._go, self._done, self._stop = threading.Semaphore(0), threading.Semaphore(0), False
        self._ledger, self._request = ledger, request
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._done.acquire()
        time.sleep(0.05)  # it is waiting now, for certain

    def _run(self) -> None:
        self._ledger.push(self._request)
        self._done.release()
        while True:
            self._go.acquire()
            if self._stop:
                break
            deadline = time.thread_time() + 0.005
            while time.thread_time() < deadline:
                pass
            self._done.release()
        self._ledger.pop(self._request)

    def work(self) -> None:
        self._go.release()
        self._done.acquire()
        time.sleep(0.05)

    def stop(self) -> None:
        self._stop = True
        self._go.release()
        self._thread.join(10)


@contextmanager
def two_threads() -> Iterator[tuple[Ledger, GuardedRequest, GuardedRequest, Worker]]:
    ledger, here, there = Ledger(), request_named("here"), request_named("there")
    ledger.push(here)
    worker = Worker(ledger, there)
    try:
        yield ledger, here, there, worker
    finally:
        worker.stop()
        ledger.pop(here)


def names(found: list[Any]) -> set[Any]:
    return {request.guard for request in found}


def test_a_thread_that_only_waited_has_an_alibi() -> None:
    with two_threads() as (ledger, *_):
        ledger.about_to_look()
        ledger.about_to_look()
        assert names(ledger.running()) == {"here"}


def test_a_thread_that_ran_has_none() -> None:
    with two_threads() as (ledger, _, _, worker):
        ledger.about_to_look()
        worker.work()
        ledger.about_to_look()
        assert names(ledger.running()) == {"here", "there"}


def test_a_brief_look_in_between_gives_no_alibi_for_what_only_full_looks_compare() -> None:
    with two_threads() as (ledger, _, _, worker):
        ledger.about_to_look(full=True)
        worker.work()
        ledger.about_to_look(full=False)
        ledger.about_to_look(full=False)
        ledger.about_to_look(full=True)
        assert names(ledger.running(full=True)) == {"here", "there"}
        assert names(ledger.running()) == {"here"}


def test_who_was_not_seen_before_is_never_ruled_out() -> None:
    with two_threads() as (ledger, *_):
        assert names(ledger.running()) == {"here", "there"}
