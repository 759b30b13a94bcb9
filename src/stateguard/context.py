"""The request's state as an explicit argument, for code that wants nothing ambient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stateguard.agent_session import AgentSession
from stateguard.scope import require_scope

if TYPE_CHECKING:
    from stateguard.leak import RequestInfo

S = TypeVar("S")


@dataclass(slots=True)
class RequestContext(Generic[S]):
    """One request's state, made where the request arrives and handed from function to function.

    ``session`` is the conversation, ``request`` says which request it is (``None`` outside a middleware),
    ``values`` is for anything else that belongs to this request only.
    """

    session: S
    request: RequestInfo | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(cls, session_factory: Callable[[], S]) -> RequestContext[S]:
        """A context with a fresh session, without any middleware: for tests, jobs and Lambda handlers."""
        return cls(session_factory())


def request_context() -> RequestContext[AgentSession]:
    """The context of the request being served: ``Depends(request_context)`` in FastAPI, or called in a view.

    The session is the middleware's, from its store if it has one. Raises :class:`NoActiveScope` outside a
    request.
    """
    scope = require_scope("request_context()")
    return RequestContext(scope.session, scope.request)
