"""stateguard: catch the state that one web request leaks into another, and cure it."""

from typing import TYPE_CHECKING

from stateguard._version import __version__
from stateguard.carry import carry
from stateguard.errors import SharedStateMutated, StateGuardError
from stateguard.freeze import freeze
from stateguard.request_var import RequestVar
from stateguard.scope import Scope, current_scope, open_scope, session
from stateguard.scoped import json_default, scoped, unscoped

if TYPE_CHECKING:
    from stateguard.agent_session import AgentSession
    from stateguard.context import RequestContext, request_context
    from stateguard.frozen_module import freeze_module
    from stateguard.guard import Guard
    from stateguard.leak import Leak
    from stateguard.prices import Prices

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


_LATER = {
    "AgentSession": "agent_session",
    "Guard": "guard",
    "Leak": "leak",
    "Prices": "prices",
    "RequestContext": "context",
    "freeze_module": "frozen_module",
    "request_context": "context",
}
"""Names that are loaded on first use, and the module of each: who only wants ``scoped()`` does not pay for an
engine. Not here: names that a module of the package has as well, for whoever imports such a module puts it in
their place."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
