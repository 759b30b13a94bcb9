"""Start ``stateguard run`` with a real server, and stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.redis_server import free_port

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@dataclass
class Started:
    """A server that answers. ``log`` is complete once it has stopped."""

    url: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def workers(self, calls: int) -> set[str]:
        """The process ids that answered that many requests, each on a connection of its own."""
        return {httpx.get(self.url, timeout=20).raise_for_status().text for _ in range(calls)}

    def all_workers(self, number: int) -> set[str]:
        """The process ids of ``number`` workers, asked until each has answered at least twice."""
        seen: dict[str, int] = {}
        deadline = time.monotonic() + 40
        while len(seen) < number or min(seen.values()) < 2:
            for pid in self.workers(4):
                seen[pid] = seen.get(pid, 0) + 1
            assert time.monotonic() < deadline, f"only {seen} of {number} workers answer: {self.log}"
        return set(seen)


@contextmanager
def started(
    command: Sequence[str], directory: Path, options: Sequence[str] = (), env: dict[str, str] | None = None
) -> Iterator[Started]:
    """Run ``command`` (``{port}`` in it is a free port) under ``stateguard run`` until the block ends."""
    port = free_port()
    words = [word.format(port=port) for word in command]
    log_file = directory / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / "stateguard"), "run", *options, "--", *words],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                **(env or {}),
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Started(f"http://127.0.0.1:{port}/", process, log_file)
    try:
        _wait(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # reloaders and workers that outlive their parent


def _wait(server: Started) -> None:
    port = int(server.url.split(":")[2].strip("/"))
    deadline = time.monotonic() + 40
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert server.process.poll() is None, server.log
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)
