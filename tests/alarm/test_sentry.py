"""Sentry: the real SDK, sending to an endpoint of its own on this machine."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import sentry_sdk

from stateguard.leak import Frame, Location
from stateguard.report.sentry import Sentry
from tests.alarm.leaks import hostile, leak
from tests.run.command import ROOT

# On 3.11, the SDK looks for Pyramid, which imports webob, which imports cgi.
pytestmark = pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        lines = body.split(b"\n")
        for head, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(head)["type"] == "event":
                self.server.events.append(json.loads(payload))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """What the SDK has sent; complete after ``sentry_sdk.flush``."""
    with HTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        server.events = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        sentry_sdk.init(
            f"http://key@127.0.0.1:{server.server_port}/1",
            attach_stacktrace=True,
            # They patch logging, threads and frameworks for good: not in the process of all other tests.
            default_integrations=False,
            auto_enabling_integrations=False,
        )
        yield server.events
        sentry_sdk.get_client().close(timeout=2)
        sentry_sdk.init(None, default_integrations=False, auto_enabling_integrations=False)
        server.shutdown()
        thread.join(10)


def _sent(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sentry_sdk.flush(timeout=20)
    return events


def test_one_issue_per_distinct_leak(events: list[dict[str, Any]]) -> None:
    sink = Sentry()
    for n in range(1, 1001):
        sink.leak(leak(), n)
    sink.leak(leak("app.OTHER"), 1)
    sink.leak(leak("app.CACHE", severity="low"), 1)
    sent = _sent(events)
    assert [event["contexts"]["leak"]["seen"] for event in sent] == [1, 10, 100, 1000, 1]
    assert len({tuple(event["fingerprint"]) for event in sent}) == 2
    first = sent[0]
    assert first["fingerprint"] == ["stateguard", leak().id]
    assert first["tags"]["stateguard.request"] == "r-1"
    assert first["message"] == "shared state appended: app.HISTORY"
    (thread,) = first["threads"]["values"]
    (frame,) = thread["stacktrace"]["frames"]
    assert (frame["filename"], frame["lineno"]) == ("/srv/app.py", 8)
    assert frame["context_line"] == "HISTORY.append(text)"
    assert "vars" not in frame


def test_a_line_that_is_found_later_is_sent(events: list[dict[str, Any]]) -> None:
    sink = Sentry()
    sink.leak(leak(location=None), 1)
    stack = (Frame("a.py", 1, "outer"), Frame("b.py", 2, "inner"))
    sink.leak(leak(location=Location("b.py", 2, "inner", stack=stack)), 2)
    first, second = _sent(events)
    assert first["threads"]["values"] == []
    frames = second["threads"]["values"][0]["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames] == ["outer", "inner"]


def test_an_application_with_all_integrations_sends_each_leak_once_and_no_data(
    events: list[dict[str, Any]],
) -> None:
    assert sentry_sdk.get_client().dsn is not None
    program = (
        "import sys, logging, sentry_sdk\n"
        "from stateguard import Guard\n"
        "from tests.alarm import state\n"
        "logging.basicConfig()\n"
        "sentry_sdk.init(sys.argv[1], attach_stacktrace=True)\n"
        "sentry_sdk.add_breadcrumb(message='the pin is 4711')\n"
        "sentry_sdk.set_user({'email': 'ann@example.org'})\n"
        "guard = Guard(watch=['tests.alarm.state'], process=False, report_to='sentry', locate='always')\n"
        "secret = 'the pin is 4711'\n"
        "with guard.request('job'):\n"
        "    state.HISTORY.append(secret)\n"
        "guard.close()\n"
        "sentry_sdk.flush(timeout=20)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(sentry_sdk.get_client().dsn)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    (event,) = events
    assert event["fingerprint"][0] == "stateguard"
    text = json.dumps(event)
    assert "4711" not in text
    assert "ann@example.org" not in text


def test_hostile_texts(events: list[dict[str, Any]]) -> None:
    Sentry().leak(hostile(), 1)
    (event,) = _sent(events)
    assert len(json.dumps(event)) < 50_000
    assert event["message"].isprintable()
    assert all(str(value).isprintable() for value in event["contexts"]["leak"].values())


def test_how_many_requests_it_may_have_been(events: list[dict[str, Any]]) -> None:
    Sentry().leak(leak(request=None, confidence="suspected", suspect_count=743, suspect_count_exact=False), 1)
    (event,) = _sent(events)
    told = event["contexts"]["leak"]
    assert (told["suspects"], told["suspects_exact"]) == (743, False)


def test_how_many_requests_were_in_flight(events: list[dict[str, Any]]) -> None:
    Sentry().leak(leak(in_flight_count=250), 1)
    (event,) = _sent(events)
    assert event["contexts"]["leak"]["in_flight"] == 250


def test_without_init_nothing_is_sent() -> None:
    Sentry().leak(leak(), 1)
