"""Run something in a forked child: from the same state every time, and stoppable whatever it does."""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, TypeVar, cast

from stateguard.errors import StateGuardError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
"""Whether a process with an application in it can be forked: macOS's own libraries do not survive it."""


class TookTooLongError(StateGuardError):
    """It did not end in time, and was stopped."""


def in_child(work: Callable[[], T], seconds: float, quiet: bool = True) -> T:
    """What ``work`` returns, from a child process that is then gone.

    ``quiet`` sends what the child prints nowhere. Raises :class:`TookTooLongError`, and
    :class:`~stateguard.errors.StateGuardError` when the child dies or ``work`` raises.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # What is there now is left alone by the child's garbage collector: it would copy page after page.
    frozen = gc.get_freeze_count()
    gc.freeze()
    with warnings.catch_warnings():
        # Threads that the application has started at import do not exist in the child. If one of them holds
        # a lock, the child hangs and is stopped.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_child(work, writing, quiet)
    if not frozen:
        gc.unfreeze()
    os.close(writing)
    try:
        data = _read(reading, time.monotonic() + seconds)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    if not data:
        raise StateGuardError(
            f"the application ended its process (status {os.waitstatus_to_exitcode(status)})"
        )
    worked, value = pickle.loads(data)
    if not worked:
        raise StateGuardError(f"the probe itself failed: {value}")
    return cast("T", value)


def _be_child(work: Callable[[], Any], writing: int, quiet: bool) -> None:
    """Never returns: nothing of the parent's (clean-up, tests, servers) may run a second time."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if quiet:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
        try:
            result = (True, work())
        except BaseException:
            result = (False, traceback.format_exc())
        data = memoryview(pickle.dumps(result))
        while data:
            data = data[os.write(writing, data) :]
        if not quiet:
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(0)


def _read(descriptor: int, deadline: float) -> bytes:
    found = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TookTooLongError("it did not end in time")
        if not poll.poll(left * 1000):
            continue
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return bytes(found)
        found += chunk


def on_own_thread(work: Callable[[], T], seconds: float) -> T:
    """The same without a fork, in this process: state that ``work`` leaves behind stays.

    Work that does not end is left behind on its (daemon) thread.
    """
    result: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            result.append((True, work()))
        except BaseException:
            result.append((False, traceback.format_exc()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if not result:
        raise TookTooLongError("it did not end in time")
    worked, value = result[0]
    if not worked:
        raise StateGuardError(f"the probe itself failed: {value}")
    return cast("T", value)
