"""Real uvicorn and gunicorn with several processes: overlapping requests, killed workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from stateguard.sessions import RedisStore, SQLiteStore
from tests.redis_server import free_port

APP = """
import os, time
from stateguard import session
from stateguard.sessions import RedisStore, SQLiteStore

target = os.environ["TARGET"]
store = RedisStore(target) if target.startswith("redis") else SQLiteStore(target, timeout=20)
options = {"store": store, "session_id": lambda r: r.headers.get("x-conversation"), "mode": "scope-only"}

def texts():
    return [message["content"] for message in session().history]
"""

ASGI = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from stateguard.asgi import StateGuardMiddleware

async def say(request):
    session().add_message("user", request.path_params["text"])
    await asyncio.sleep(0.01)
    session().tool_calls += 1
    return PlainTextResponse(str(os.getpid()))

async def stream(request):
    text = request.path_params["text"]
    session().add_message("user", text)
    async def body():
        yield b"begin "
        await asyncio.sleep(0.01)
        session().add_message("assistant", text)
        yield b"end"
    return StreamingResponse(body())

app = Starlette(routes=[Route("/say/{text}", say), Route("/stream/{text}", stream)])
app.add_middleware(StateGuardMiddleware, **options)
"""

WSGI = """
import flask
from stateguard.wsgi import StateGuardMiddleware

app = flask.Flask(__name__)
app.wsgi_app = StateGuardMiddleware(app.wsgi_app, **options)

@app.get("/say/<text>")
def say(text):
    session().add_message("user", text)
    time.sleep(0.01)
    session().tool_calls += 1
    return str(os.getpid())

@app.get("/stream/<text>")
def stream(text):
    session().add_message("user", text)
    def body():
        yield b"begin "
        time.sleep(0.01)
        session().add_message("assistant", text)
        yield b"end"
    return app.response_class(body())
"""


class Server:
    def __init__(self, kind: str, folder, target: str) -> None:
        (folder / "served.py").write_text(textwrap.dedent(APP + (ASGI if kind == "uvicorn" else WSGI)))
        self.port = free_port()
        commands = {
            "uvicorn": ["uvicorn", "served:app", "--port", str(self.port), "--workers", "2"],
            "gunicorn": ["gunicorn", "served:app", "-b", f"127.0.0.1:{self.port}", "-w", "2", "-k", "gthread",
                         "--threads", "4", "--preload"],
        }  # fmt: skip
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *commands[kind]],
            cwd=folder,
            env={**os.environ, "TARGET": target},
            stdout=self.log,
            stderr=self.log,
        )
        self.url = f"http://127.0.0.1:{self.port}"

    def wait(self, path) -> None:
        """Until both worker processes answer: they start one after the other."""
        deadline = time.monotonic() + 90
        seen: set[str] = set()

        def ask(number):
            headers = {"X-Conversation": f"warm-up {number}"}
            return httpx.get(f"{self.url}/say/{number}", headers=headers, timeout=5).text

        with ThreadPoolExecutor(4) as pool:
            while len(seen) < 2:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError((path / "server.log").read_text())
                try:
                    seen |= set(pool.map(ask, range(4)))
                except httpx.TransportError:
                    time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.log.close()


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def target(request, tmp_path_factory, redis_server):
    return str(tmp_path_factory.mktemp("store") / "s.db") if request.param == "sqlite" else redis_server.url


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn"])
def server(request, tmp_path_factory, target):
    folder = tmp_path_factory.mktemp(request.param)
    server = Server(request.param, folder, target)
    server.kind = request.param
    try:
        server.wait(folder)
        yield server
    finally:
        server.stop()


def read(target, conversation):
    store = RedisStore(target) if target.startswith("redis") else SQLiteStore(target)
    try:
        return store.update(conversation, lambda s: ([m["content"] for m in s.history], s.tool_calls))
    finally:
        store.close()


def test_overlapping_requests_in_two_processes_lose_nothing(server, target):
    def say(number):
        # A connection for each: one that is kept alive stays with its worker.
        options = {"headers": {"X-Conversation": f"{server.kind} c{number % 2}"}, "timeout": 30}
        answers = [httpx.get(f"{server.url}/say/{number}.{turn}", **options) for turn in range(4)]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert httpx.get(f"{server.url}/stream/s{number}", **options).text == "begin end"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(say, range(8)))
    for half in (0, 1):
        found, calls = read(target, f"{server.kind} c{half}")
        numbers = range(half, 8, 2)
        expected = [f"{n}.{turn}" for n in numbers for turn in range(4)] + [f"s{n}" for n in numbers] * 2
        assert sorted(found) == sorted(expected)
        assert calls == 16


def test_a_killed_worker_loses_nothing_that_was_answered(server, target):
    answered, failed = [], []
    headers = {"X-Conversation": f"{server.kind} killed"}

    def say(number):
        for turn in range(25):
            text = f"{number}.{turn}"
            try:
                answer = httpx.get(f"{server.url}/say/{text}", headers=headers, timeout=20)
            except httpx.TransportError:
                failed.append(text)
                continue
            if answer.status_code == 200:
                answered.append((text, int(answer.text)))
            else:
                failed.append(text)

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(say, number) for number in range(4)]
        deadline = time.monotonic() + 30
        while len(answered) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(answered[-1][1], signal.SIGKILL)
        for future in work:
            future.result()
    found, calls = read(target, f"{server.kind} killed")
    assert {text for text, _ in answered} <= set(found)
    assert len(found) == len(set(found)) == calls
    assert len(answered) > 40, failed
