"""JSON lines: a directory of files that many processes and hosts write into, one file per process at a time.

A line is acknowledged when :meth:`JsonLines.leak` returns. It has then been given to the operating system in
one ``write``: the process may be killed at any moment afterwards and the line stays. ``sync=True`` waits for
the disk as well, for lines that must survive a crash of the machine.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from stateguard.errors import ConfigError
from stateguard.report.record import encode, encode_allowances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stateguard.leak import Leak

MAX_BYTES = 10_000_000
"""Size at which a process begins its next file."""

KEEP = 10
"""Files of one process that are kept; the oldest goes when there are more."""


class JsonLines:
    """Writes leaks into ``directory``, which is made if it is not there.

    A file is named ``leaks-HOST-PID-TOKEN-NUMBER.jsonl`` and readable by its owner only. Past ``max_bytes``
    the next one is begun, and the oldest file of this process beyond ``keep`` is deleted. Raises
    :class:`~stateguard.errors.ConfigError` when the directory cannot be written.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, keep: int = KEEP,
        sync: bool = False,
    ) -> None:  # fmt: skip
        if max_bytes < 1 or keep < 1:
            raise ConfigError(f"max_bytes={max_bytes} and keep={keep} must be 1 or more")
        self._directory = Path(directory).absolute()
        self._max_bytes = max_bytes
        self._keep = keep
        self._sync = sync
        self._begin()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            probe = os.access(self._directory, os.W_OK | os.X_OK)
        except OSError as error:
            raise ConfigError(f"cannot write leaks to {self._directory}: {error.strerror}") from error
        if not probe:
            raise ConfigError(f"cannot write leaks to {self._directory}: no permission")

    def _begin(self) -> None:
        """A process starts afresh: a forked one must not write into its parent's file."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._size = 0
        self._number = 0
        self._files: list[Path] = []
        host = re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:60]
        self.process = f"{host}-{self._pid}-{os.urandom(4).hex()}"

    def leak(self, leak: Leak, seen: int) -> None:
        """Write one line; it is on file when this returns. Raises ``OSError`` when that fails."""
        if os.getpid() != self._pid:
            if self._fd is not None:
                os.close(self._fd)
            self._begin()
        self._add(encode(leak, seen, self.process))

    def allowances(self, hits: Mapping[str, int]) -> None:
        """Write how often each exemption has matched: ``stateguard report`` adds up all processes."""
        if os.getpid() == self._pid:
            self._add(encode_allowances(hits, self.process))

    def _add(self, line: bytes) -> None:
        with self._lock:
            if self._fd is None or self._size + len(line) > self._max_bytes:
                self._open()
            self._write(line)
            if self._fd is not None and not os.fstat(self._fd).st_nlink:  # somebody has tidied up
                self._open()
                self._write(line)

    def _open(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._directory.mkdir(parents=True, exist_ok=True)
        self._number += 1
        path = self._directory / f"leaks-{self.process}-{self._number}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._size = 0
        self._files.append(path)
        while len(self._files) > self._keep:
            self._files.pop(0).unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        assert self._fd is not None
        rest = memoryview(line)
        while rest:  # a full disk may take a part: the reader drops it, and this raises at the next turn
            rest = rest[os.write(self._fd, rest) :]
        self._size += len(line)
        if self._sync:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; a later leak begins a new one."""
        with self._lock:
            if self._fd is not None and os.getpid() == self._pid:
                os.close(self._fd)
                self._fd = None
