"""How long the process's threads have waited for a processor that others were using.

A process that does not run may be idle, or may be one of many on a busy machine. Only the time of the former
is nobody else's. Linux keeps the account; elsewhere nothing is known of it.
"""

from __future__ import annotations

import os

from stateguard.aside import allowed_to_block

_TASKS = "/proc/self/task"

THREADS = 64
"""Threads whose account is read; a reading takes some 10 microseconds each."""


def waited() -> int:
    """Nanoseconds for which threads of this process were ready to run and did not, so far; 0 if unknown."""
    total = 0
    with allowed_to_block():
        try:
            for task in os.listdir(_TASKS)[:THREADS]:
                total += _run_delay(f"{_TASKS}/{task}/schedstat")
        except OSError:
            return 0
    return total


def _run_delay(path: str) -> int:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # the thread has ended, or the system keeps no account
        return 0
    try:
        return int(os.read(file, 100).split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    finally:
        os.close(file)
