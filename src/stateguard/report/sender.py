"""A thread that sends what may block: requests hand leaks over and go on."""

from __future__ import annotations

import os
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = 1000
"""Leaks that wait to be sent; past that the oldest are given up and counted."""

PAUSE = 1.0
"""Seconds until the next try after a failed one; doubled each time, up to :data:`LONGEST_PAUSE`."""

LONGEST_PAUSE = 30.0


class Sender:
    """Calls ``send(lines)`` on a thread of its own, in order, again when it fails. Survives ``fork``."""

    def __init__(self, send: Callable[[list[bytes]], None], failed: Callable[[Exception], None]) -> None:
        self._send = send
        self._failed = failed
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._waiting: deque[bytes] = deque()
        self._busy = self._running = self._closing = self._failing = False
        self.lost = 0
        """Leaks that were given up because nothing could be sent for too long."""

    def put(self, line: bytes) -> None:
        """Have ``line`` sent soon. Never blocks for longer than another ``put``."""
        if os.getpid() != self._pid:
            self._begin()  # a forked process has neither the thread nor a usable lock
        with self._news:
            self._closing = False
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(line)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="stateguard-sender", daemon=True).start()
            self._news.notify_all()

    def close(self, timeout: float = 2.0) -> bool:
        """Wait up to ``timeout`` seconds until everything is sent, then end the thread. Whether it was.

        Does not wait for a receiver that did not answer the last time.
        """
        if os.getpid() != self._pid:
            return True
        deadline = monotonic() + timeout
        with self._news:
            while (
                self._running
                and (self._waiting or self._busy)
                and not self._failing
                and monotonic() < deadline
            ):
                self._news.wait(min(0.1, timeout))
            self._closing = True
            self._news.notify_all()
            return not self._waiting and not self._busy

    def _run(self) -> None:
        pause = PAUSE
        while True:
            with self._news:
                while not self._waiting and not self._closing:
                    self._news.wait()
                if self._closing:
                    self._running = False
                    return
                batch = [self._waiting.popleft() for _ in range(min(100, len(self._waiting)))]
                self._busy = True
            try:
                self._send(batch)
                self._failing, pause = False, PAUSE
            except Exception as error:
                self._failing = True
                self._failed(error)
                self._put_back(batch)
                self._rest(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            finally:
                with self._news:
                    self._busy = False
                    self._news.notify_all()

    def _put_back(self, batch: list[bytes]) -> None:
        with self._news:
            kept = min(len(batch), WAITING - len(self._waiting))
            self.lost += len(batch) - kept
            if kept > 0:
                self._waiting.extendleft(reversed(batch[-kept:]))

    def _rest(self, seconds: float) -> None:
        deadline = monotonic() + seconds
        with self._news:
            self._news.notify_all()
            while not self._closing and (left := deadline - monotonic()) > 0:
                self._news.wait(left)
