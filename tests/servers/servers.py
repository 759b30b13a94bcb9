"""Start a real server in a process of its own, on a listening socket where it takes one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASGI = "tests.servers.asgi_app:app"
WSGI = "tests.servers.wsgi_app:app"
GUNICORN = (
    "gunicorn",
    "-c",
    "python:tests.servers.gunicorn_conf",
    "--log-level",
    "warning",
    "-b",
    "fd://{fd}",
)
WAITRESS = (
    "import socket, waitress; from tests.servers.wsgi_app import app; "
    "waitress.serve(app, sockets=[socket.socket(fileno={fd})], threads=8, _quiet=True)"
)
ASGI_SERVERS = {
    "uvicorn-asyncio": ("-m", "uvicorn", "--fd", "{fd}", "--loop", "asyncio", "--log-level", "warning", ASGI),
    "uvicorn-uvloop": ("-m", "uvicorn", "--fd", "{fd}", "--loop", "uvloop", "--log-level", "warning", ASGI),
    "hypercorn-asyncio": ("-m", "hypercorn", "-b", "fd://{fd}", "-k", "asyncio", ASGI),
    "hypercorn-uvloop": ("-m", "hypercorn", "-b", "fd://{fd}", "-k", "uvloop", ASGI),
    "hypercorn-trio": ("-m", "hypercorn", "-b", "fd://{fd}", "-k", "trio", ASGI),
    "granian-asgi": (
        "-m",
        "granian",
        "--port",
        "{port}",
        "--interface",
        "asgi",
        "--log-level",
        "warning",
        ASGI,
    ),
    "gunicorn-uvicorn": ("-m", *GUNICORN, "-k", "uvicorn_worker.UvicornWorker", ASGI),
}
WSGI_SERVERS = {
    "gunicorn-sync": ("-m", *GUNICORN, "-k", "sync", WSGI),
    "gunicorn-gthread": ("-m", *GUNICORN, "-k", "gthread", "--threads", "8", WSGI),
    "gunicorn-gevent": ("-m", *GUNICORN, "-k", "gevent", WSGI),
    "waitress": ("-c", WAITRESS),
    "granian-wsgi": (
        *("-m", "granian", "--port", "{port}", "--interface", "wsgi", "--log-level", "warning"),
        *("--blocking-threads", "8", WSGI),
    ),
    "flask-run": ("-m", "flask", "--app", "tests.servers.wsgi_app", "run", "--port", "{port}"),
    "runserver": ("-m", "tests.servers.django_app", "runserver", "--noreload", "127.0.0.1:{port}"),
}
"""How each server is started; ``{fd}`` is the listening socket, ``{port}`` a free port for the others."""

START_SECONDS = 30.0


@dataclass
class Running:
    """A server that answers; ``log`` and ``exit_code`` are filled in when it has stopped."""

    url: str
    log: str = ""
    exit_code: int | None = None


def _wait_for(process: subprocess.Popen[bytes], port: int, log_file: Path) -> None:
    """Until the server accepts connections; one that ends, or takes too long, is an error with its log."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log_file.read_text("utf-8", "replace")) from None
            time.sleep(0.05)


@contextmanager
def running(name: str, on_leak: str, directory: Path) -> Iterator[Running]:
    """Start the server ``name``; stop it with SIGTERM, and kill it if that takes more than 15 seconds."""
    template = {**ASGI_SERVERS, **WSGI_SERVERS}[name]
    log_file = directory / "server.log"
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log_file.open("wb") as log:
        descriptor, port = listener.fileno(), listener.getsockname()[1]
        command = [sys.executable, *(part.format(fd=descriptor, port=port) for part in template)]
        opens_its_own = any("{port}" in part for part in template)
        if opens_its_own:
            listener.close()
        environment = {**os.environ, "ON_LEAK": on_leak, "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            pass_fds=[] if opens_its_own else [descriptor],
            stdout=log,
            stderr=log,
        )
        server = Running(f"http://127.0.0.1:{port}")
    try:
        if opens_its_own:
            _wait_for(process, port, log_file)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        server.exit_code = process.returncode
        server.log = log_file.read_text("utf-8", "replace")
