"""One example service in a process of its own, as the main job and the tests start it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

START_SECONDS = 30.0
STOP_SECONDS = 15.0
ROOT = Path(__file__).resolve().parent.parent


class ServiceError(RuntimeError):
    """A service did not start; the message holds its log."""


@dataclass
class Service:
    """``with Service("examples.chat_starlette.leaking.app", environment) as service: ...``.

    After the ``with`` block, ``findings`` holds what the service's guard found and ``log`` what it logged.
    Raises :class:`ServiceError` with the service's log if it does not start within 30 seconds.
    """

    module: str
    environment: dict[str, str]
    url: str = ""
    findings: dict[str, Any] = field(default_factory=dict)
    log: str = ""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(
            prefix="stateguard-example-", ignore_cleanup_errors=True
        )
        self._files = Path(self._directory.name)
        environment = {
            **os.environ,
            "CHAT_DB": str(self._files / "conversations.sqlite3"),
            "PYTHONIOENCODING": "utf-8",
            **self.environment,
        }
        command = [sys.executable, "-m", "examples.serve", self.module, "--findings", str(self._found)]
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        try:
            self.url = f"http://127.0.0.1:{self._first_line()}"
        except BaseException:
            self._stop()
            self._directory.cleanup()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()
        self.log = self._log_file.read_text("utf-8", "replace")
        if self._found.exists():
            self.findings = json.loads(self._found.read_text("utf-8"))
        self._directory.cleanup()

    @property
    def _found(self) -> Path:
        return self._files / "findings.json"

    @property
    def _log_file(self) -> Path:
        return self._files / "service.log"

    def _first_line(self) -> int:
        """The port that the service prints; read in a thread, because a pipe has no timeout."""
        lines: queue.Queue[bytes] = queue.Queue()
        output = self._process.stdout
        assert output is not None
        threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
        try:
            return int(lines.get(timeout=START_SECONDS))
        except (queue.Empty, ValueError):
            self._stop()
            log = self._log_file.read_text("utf-8", "replace")
            raise ServiceError(f"{self.module} did not start:\n{log}") from None

    def _stop(self) -> None:
        """Close the service's standard input, which ends it; kill it when that does not help."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
