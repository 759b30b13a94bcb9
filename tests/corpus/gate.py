"""Let a script hold one request inside the application while others run: overlap made deterministic.

The application calls :func:`hold` (or awaits :func:`hold_async`) where it would wait for a model or a
database. A request that the script has not armed passes at once; an armed one waits, once, until released.
"""

from __future__ import annotations

import asyncio
import threading

LIMIT = 20.0
"""Seconds after which a held request gives up: a broken script fails instead of hanging."""

_POLL = 0.001


class Gate:
    """One held request."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()


_armed: dict[str, Gate] = {}


def arm(request_id: str) -> Gate:
    """Make the request of that id wait at its next hold."""
    gate = _armed[request_id] = Gate()
    return gate


def disarm(request_id: str) -> None:
    """Forget the request."""
    _armed.pop(request_id, None)


def hold(request_id: str) -> None:
    """Wait, on this thread, until the script lets the request go on."""
    gate = _armed.get(request_id)
    if gate is None or gate.entered.is_set():
        return
    gate.entered.set()
    if not gate.released.wait(LIMIT):
        raise TimeoutError(f"request {request_id} was never released")


async def hold_async(request_id: str) -> None:
    """Wait, suspended, until the script lets the request go on; always suspends at least once."""
    await asyncio.sleep(0)
    gate = _armed.get(request_id)
    if gate is None or gate.entered.is_set():
        return
    gate.entered.set()
    async with asyncio.timeout(LIMIT):
        while not gate.released.is_set():
            await asyncio.sleep(_POLL)
