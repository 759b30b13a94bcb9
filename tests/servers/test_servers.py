"""The guard under uvicorn, hypercorn, granian, gunicorn, waitress, ``flask run`` and ``runserver``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.servers.servers import ASGI_SERVERS, WSGI_SERVERS, Running, running

pytestmark = pytest.mark.timeout(60)
EVERY = [*ASGI_SERVERS, *WSGI_SERVERS]


@pytest.fixture(scope="module", params=EVERY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(name, "log", tmp_path_factory.mktemp("server")) as server:
        yield server
    assert server.exit_code in (0, -signal.SIGTERM), "did not stop when asked to"
    assert "Traceback" not in server.log, server.log
    assert "shared state" in server.log, server.log


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def by(request_id: str, leaks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Confidence and path of what the guard says of one request."""
    mine = [leak for leak in leaks if leak["request"] and leak["request"]["id"] == request_id]
    return [(leak["confidence"], leak["request"]["path"]) for leak in mine]


def found(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    leaks: list[dict[str, Any]] = client.get("/leaks").raise_for_status().json()
    return [leak for leak in leaks if leak["path"].startswith(path)]


def test_one_guilty_request_is_named(client: httpx.Client) -> None:
    answer = client.get("/guilty", params={"name": "alone"}, headers={"x-request-id": "request-alone"})
    assert answer.text == "hello alone"
    leaks = found(client, "tests.servers.state.HISTORY")
    assert by("request-alone", leaks) == [("exact", "/guilty")]


def test_concurrent_requests_are_served_and_no_innocent_is_accused(client: httpx.Client) -> None:
    def call(number: int) -> str:
        path = "/guilty" if number % 4 == 0 else "/innocent"
        headers = {"x-request-id": f"{path[1:]}-{number}"}
        return client.get(path, params={"name": str(number)}, headers=headers).raise_for_status().text

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(call, range(48)))
    assert answers == [f"hello {number}" if number % 4 == 0 else "hello" for number in range(48)]
    accused = [
        leak["request"]["id"] for leak in found(client, "tests.servers") if leak["confidence"] == "exact"
    ]
    assert not [request for request in accused if request.startswith("innocent")]


def test_a_streamed_body_arrives_in_full_and_is_guarded_to_its_end(client: httpx.Client) -> None:
    with client.stream(
        "GET", "/stream", params={"name": "s"}, headers={"x-request-id": "stream-1"}
    ) as answer:
        text = answer.read().decode()
    assert text == "".join(f"part {number}\n" for number in range(5))
    assert "content-length" not in answer.headers
    leaks = found(client, "tests.servers.state.STREAMED")
    assert by("stream-1", leaks) == [("exact", "/stream")]


def test_every_request_has_a_fresh_scope_on_a_reused_connection(client: httpx.Client) -> None:
    for number in range(5):
        answer = client.get("/scope", params={"name": str(number)}).raise_for_status().json()
        assert answer["found"] == {}
        assert answer["kept"] == {"name": str(number)}


def test_concurrent_scopes_do_not_mix(client: httpx.Client) -> None:
    def call(number: int) -> dict[str, Any]:
        return client.get("/scope", params={"name": str(number)}).raise_for_status().json()

    with ThreadPoolExecutor(8) as pool:
        for number, answer in enumerate(pool.map(call, range(24))):
            assert answer.pop("found") == {}
            assert all(kept == {"name": str(number)} for kept in answer.values()), answer


@pytest.mark.parametrize("name", ASGI_SERVERS, scope="module")
class TestASGI:
    def test_the_lifespan_state_reaches_requests(self, client: httpx.Client) -> None:
        assert client.get("/started").text == "yes"

    def test_a_background_task_is_its_requests_doing(self, client: httpx.Client) -> None:
        headers = {"x-request-id": "later-1"}
        assert client.get("/later", params={"name": "l"}, headers=headers).text == "done"
        for _ in range(100):  # the task runs after the answer has arrived
            leaks = found(client, "tests.servers.state.LATER")
            if leaks:
                break
        assert [(leak["request"]["id"], leak["confidence"]) for leak in leaks] == [("later-1", "exact")]

    def test_a_websocket_is_guarded_while_it_is_open(self, client: httpx.Client, server: Running) -> None:
        address = server.url.replace("http:", "ws:") + "/socket"
        with connect(address, additional_headers={"x-request-id": "ws-1"}, close_timeout=5) as socket:
            socket.send("one")
            assert socket.recv(timeout=10) == "echo one"
            leaks = found(client, "tests.servers.state.SOCKETS")
        assert [(leak["request"]["id"], leak["request"]["protocol"]) for leak in leaks] == [
            ("ws-1", "websocket")
        ]


@pytest.mark.parametrize("name", EVERY)
def test_raise_mode_answers_500_and_keeps_the_tainted_body(name: str, tmp_path: Path) -> None:
    with running(name, "raise", tmp_path) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        if name == "granian-wsgi":
            # It answers 500 under the headers that the application has given already: an answer cut short.
            with pytest.raises(httpx.RemoteProtocolError, match="received 0 bytes"):
                client.get("/guilty", params={"name": "secret"})
        else:
            answer = client.get("/guilty", params={"name": "secret"})
            assert answer.status_code == 500
            assert "secret" not in answer.text
        # Not on the same connection: uvicorn closes it after an application has raised.
        assert httpx.get(f"{server.url}/innocent", timeout=20).text == "hello"
    assert "SharedStateMutated" in server.log
