"""AWS Lambda: each invocation of a bare handler is a guarded request.

``handler = guard_handler(handler, watch=["myapp"])``. An execution environment is kept between invocations,
and with it every module global: what one invocation leaves there, the next one finds. For an ASGI application
behind Mangum, wrap the application with :class:`stateguard.asgi.StateGuardMiddleware` instead.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, Unpack, cast

from stateguard.errors import ConfigError
from stateguard.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.options import Options

    Handler = Callable[[Any, Any], Any]


class GuardedHandler(Protocol):
    """What Lambda calls, and the guard around it."""

    guard: Guard

    def __call__(self, event: Any, context: Any, /) -> Any:
        """Handle one invocation."""


def guard_handler(
    handler: Handler, *, guard: Guard | None = None, **options: Unpack[Options]
) -> GuardedHandler:
    """``handler``, guarded: named after the function, with the invocation's ``aws_request_id``.

    Counts that reports hold back are handed on before the answer is returned: the environment is frozen
    between invocations, and may never be thawed.
    """
    if guard is not None and options:
        raise ConfigError(f"give either guard= or options, not both: {', '.join(sorted(options))}")
    made = guard if guard is not None else Guard(**options)

    @wraps(handler)
    def guarded(event: Any, context: Any) -> Any:
        name = getattr(context, "function_name", None) or handler.__name__
        id_ = getattr(context, "aws_request_id", None)
        try:
            with made.request(str(name), method="INVOKE", id=id_ and str(id_), data=event):
                return handler(event, context)
        finally:
            if made.engine is not None:
                made.engine.say_everything()

    shown = cast("GuardedHandler", guarded)
    shown.guard = made
    return shown
