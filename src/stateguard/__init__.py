"""stateguard: catch the state that one web request leaks into another, and cure it."""

from stateguard._version import __version__
from stateguard.agent_session import AgentSession, Prices
from stateguard.carry import carry
from stateguard.scope import Scope, current_scope, open_scope, session

__all__ = [
    "AgentSession",
    "Prices",
    "Scope",
    "__version__",
    "carry",
    "current_scope",
    "open_scope",
    "session",
]
