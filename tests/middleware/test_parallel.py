"""Requests on several threads that write to the same state at once, and a thread that works for none of them.

With the interpreter lock they take turns every few microseconds; on a free-threaded build they run at the
same instant. Nothing may be lost, nothing of the guard's own may fail, and nobody innocent may be accused.
"""

from __future__ import annotations

import logging
import threading
import time

import pytest

from stateguard import Guard
from stateguard.attribution.finder import Finder
from stateguard.attribution.strangers import ParallelFinder
from stateguard.parallel import PARALLEL
from stateguard.tally import ParallelTally, Tally
from tests.middleware import parallel_shop

THREADS = 3
REQUESTS = 8
ROUNDS = 4
"""Churns in one request."""

GUILTY = 4
"""Every so many-th request of a thread plants a leak."""


@pytest.fixture
def shop():
    parallel_shop.reset()
    yield parallel_shop
    parallel_shop.reset()


class Body:
    """A body that is made while it is sent, so that each request has several stretches."""

    def __init__(self, name):
        self.parts = iter(range(2))
        self.name = name

    def __iter__(self):
        return self

    def __next__(self):
        parallel_shop.churn(self.name, 100 + next(self.parts))
        return self.name.encode()

    def close(self):
        parallel_shop.churn(self.name, 103)


def application(environ, start_response):
    name = environ["HTTP_X_REQUEST_ID"]
    if name.startswith("alone"):
        parallel_shop.alone(name)
    for i in range(ROUNDS):
        parallel_shop.churn(name, i)
        if i == ROUNDS // 2 and name.startswith("guilty"):
            parallel_shop.plant(name)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Body(name)


def serve(app, name):
    said = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_NAME": "shop",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "HTTP_X_REQUEST_ID": name,
    }  # fmt: skip
    body = app(environ, lambda status, headers, error=None: said.append(status))
    try:
        received = list(body)
    finally:
        body.close()
    return said, received


def eventually(app, guard, root, name):
    """The leaks of ``root``. While looks are sparse it may take a few requests more until one is taken."""
    for i in range(200):
        found = [leak for leak in guard.leaks if leak.root == root]
        if found:
            return found
        serve(app, f"{name}-{i}")
        time.sleep(0.02)
    return []


OPTIONS = {
    "by default": {},
    "whatever it costs": {"budget": 1},
    "every line": {"locate": "always"},
    "restored": {"on_leak": "restore"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_threads_that_write_to_the_same_state_at_once(options, shop, often, caplog):
    caplog.set_level(logging.WARNING, logger="stateguard")
    name = shop.__name__
    guard = Guard(watch=[name], allow=[f"{name}.CHURN_*  # everybody's"], process=False, **options)
    app = guard.wsgi(application)
    answers, errors = {}, []
    start, stop = threading.Barrier(THREADS + 1), threading.Event()

    def client(number):
        try:
            start.wait(30)
            for i in range(REQUESTS):
                mine = f"{'innocent' if i % GUILTY else 'guilty'}-{number}-{i}"
                answers[mine] = serve(app, mine)
        except BaseException as error:
            errors.append(error)

    def ticker():
        start.wait(30)
        i = 0
        while i < 50 and not stop.wait(0.005):
            shop.tick(i)
            i += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(THREADS)]
    outsider = threading.Thread(target=ticker)
    try:
        serve(app, "first")
        for thread in (*threads, outsider):
            thread.start()
        for thread in threads:
            thread.join(100)
        stop.set()
        outsider.join(30)
        assert errors == []
        assert len(answers) == THREADS * REQUESTS
        for asked, (said, received) in answers.items():
            assert (said, received) == (["200 OK"], [asked.encode()] * 2)
        accused = [(leak.root, leak.request.id) for leak in guard.leaks if leak.confidence == "exact"]
        assert [who for root, who in accused if not who.startswith("guilty") or "PLANTED" not in root] == []
        found = eventually(app, guard, f"{name}.PLANTED", "quiet")
        named = {info.id for leak in found for info in (leak.request, *leak.suspects) if info is not None}
        assert any(who.startswith("guilty") for who in named)
        # Nothing has come apart: what a request does now is found as well.
        assert eventually(app, guard, f"{name}.ALONE", "alone")
    finally:
        stop.set()
        guard.close()
    failures = [record.getMessage() for record in caplog.records if "failed" in record.getMessage()]
    assert failures == []


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("on_leak", ["log", "raise"])
def test_each_build_has_its_own_kind_of_finder(monkeypatch, parallel, on_leak):
    monkeypatch.setattr("stateguard.attribution.finder.PARALLEL", parallel)
    guard = Guard(watch=[parallel_shop.__name__], process=False, on_leak=on_leak)
    finder = guard.engine.finder
    guard.close()
    assert type(finder) is (ParallelFinder if parallel else Finder)
    # Where threads do not take turns, nothing but lines can prove what close looks are to prove.
    assert finder.mode == ("always" if parallel and on_leak == "raise" else "auto")


def test_each_build_has_its_own_kind_of_tally():
    guard = Guard(watch=[parallel_shop.__name__], process=False)
    tally = guard.engine.tally
    guard.close()
    assert type(tally) is (ParallelTally if PARALLEL else Tally)
