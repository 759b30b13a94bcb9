"""What the compiled short way of requests through one middleware is made of."""

from __future__ import annotations

from time import perf_counter_ns, time  # noqa: F401  (asked for by its name)
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from stateguard.attribution.request import current
from stateguard.attribution.steps import awaited
from stateguard.attribution.unseen import RUNNING
from stateguard.leak import SUSPECTS
from stateguard.passing import SAMPLED, PassingScope
from stateguard.scope import by_thread, ended, entered
from stateguard.short import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.guard import Guard
    from stateguard.leak import RequestInfo


def way(guard: Guard, identify: Callable[..., RequestInfo]) -> Way | None:
    """The short way through a middleware of ``guard``, if there is one. ``identify`` names a request."""
    if Way is None or guard.mode == "off" or guard.config.scope != "contextvar":
        return None
    if type(getattr(type(guard), "mode", None)) is not MemberDescriptorType:
        return None  # a subclass says it in another way
    engine: Any = guard.engine
    return Way(
        awaited=awaited,
        by_thread=by_thread,
        clock=perf_counter_ns,
        clocks=globals(),
        current=current,
        ended=ended,
        engine=engine,
        entered=entered,
        finder=engine and engine.finder,
        guard=guard,
        identify=identify,
        mode=guard.mode,
        pace=engine and engine.pace,
        passing=engine and engine.passing,
        running=RUNNING,
        sampled=SAMPLED,
        scope=PassingScope,
        scopes=engine and engine.passing.scopes,
        suspects=SUSPECTS,
        tally=engine and engine.tally,
        unseen=engine and engine.unseen,
    )
