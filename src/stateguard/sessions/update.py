"""``store.update(id, fn)``: load, change, save, and again on what somebody else saved meanwhile."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

from stateguard.errors import SessionConflict
from stateguard.sessions.checkout import Checkout
from stateguard.sessions.policy import Policy, Terms
from stateguard.sessions.steps import Step, Steps

OPTIMISTIC = 3
"""How often to try without taking the session's lock."""


def update_steps(
    policy: Policy, session_id: str, terms: Terms[Any], fn: Callable[[Any], Any], attempts: int
) -> Steps[Any]:
    """The procedure behind ``SessionStore.update`` and ``aupdate``; ``fn`` may await in the second."""
    for attempt in range(attempts):
        checkout = Checkout(session_id, _raising(policy), terms)
        if policy.on_conflict == "lock" or attempt >= OPTIMISTIC:
            # Somebody keeps being faster: while this holds the lock, they wait.
            yield from checkout.lock()
        try:
            yield from checkout.open()
            result = yield Step("call", (fn, checkout.session))
            try:
                yield from checkout.save()
            except SessionConflict:
                if attempt + 1 == attempts:
                    raise
            else:
                return result
        finally:
            yield from checkout.unlock()
        yield Step("sleep", (random.random() * min(0.001 * 2**attempt, 0.1),))
    raise SessionConflict(f"session {session_id!r}: attempts must be at least 1", session_id)


def _raising(policy: Policy) -> Policy:
    return dataclasses.replace(policy, on_conflict="raise")
