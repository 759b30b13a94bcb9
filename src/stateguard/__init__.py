"""stateguard: catch the state that one web request leaks into another, and cure it."""

from typing import TYPE_CHECKING

from stateguard._version import __version__
from stateguard.agent_session import AgentSession, Prices
from stateguard.carry import carry
from stateguard.context import RequestContext, request_context
from stateguard.errors import SharedStateMutated, StateGuardError
from stateguard.freeze import freeze
from stateguard.frozen_module import freeze_module
from stateguard.leak import Leak
from stateguard.request_var import RequestVar
from stateguard.scope import Scope, current_scope, open_scope, session
from stateguard.scoped import json_default, scoped, unscoped

if TYPE_CHECKING:
    from stateguard.guard import Guard

__all__ = [
    "AgentSession",
    "Guard",
    "Leak",
    "Prices",
    "RequestContext",
    "RequestVar",
    "Scope",
    "SharedStateMutated",
    "StateGuardError",
    "__version__",
    "carry",
    "current_scope",
    "freeze",
    "freeze_module",
    "json_default",
    "open_scope",
    "request_context",
    "scoped",
    "session",
    "unscoped",
]


def __getattr__(name: str) -> object:
    # The engine is loaded by those who guard; a module that only wants scoped() does not pay for it.
    if name == "Guard":
        from stateguard.guard import Guard

        globals()["Guard"] = Guard
        return Guard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
