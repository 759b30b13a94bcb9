"""Start a real server in a process of its own, on a socket that is already listening."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
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
}
WSGI_SERVERS = {
    "gunicorn-sync": ("-m", *GUNICORN, "-k", "sync", WSGI),
    "gunicorn-gthread": ("-m", *GUNICORN, "-k", "gthread", "--threads", "8", WSGI),
    "gunicorn-gevent": ("-m", *GUNICORN, "-k", "gevent", WSGI),
    "waitress": ("-c", WAITRESS),
}
"""How each server is started; ``{fd}`` is the listening socket."""


@dataclass
class Running:
    """A server that answers; ``log`` and ``exit_code`` are filled in when it has stopped."""

    url: str
    log: str = ""
    exit_code: int | None = None


@contextmanager
def running(name: str, on_leak: str, directory: Path) -> Iterator[Running]:
    """Start the server ``name``; stop it with SIGTERM, and kill it if that takes more than 15 seconds."""
    template = {**ASGI_SERVERS, **WSGI_SERVERS}[name]
    log_file = directory / "server.log"
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log_file.open("wb") as log:
        descriptor = listener.fileno()
        command = [sys.executable, *(part.format(fd=descriptor) for part in template)]
        environment = {**os.environ, "ON_LEAK": on_leak, "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[descriptor], stdout=log, stderr=log
        )
        server = Running(f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
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
