"""Model Context Protocol servers: each tool call, prompt and resource is a guarded request.

``MCPServer("name", middleware=[StateGuardMiddleware(watch=["myapp", "myapp.*"])])``. One process calls the
tools for all of the server's clients, over HTTP several at the same time. The ASGI middleware around the
HTTP application cannot tell them apart: a session's messages may be handled in a task of the session's, not
of the HTTP request. It works beside this one.

On versions of the ``mcp`` package without middlewares, decorate the tools: ``@guard.guarded`` below
``@server.tool()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from stateguard.errors import ConfigError
from stateguard.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stateguard.options import Options

METHODS = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})
"""Messages that run code of the application's."""


class StateGuardMiddleware:
    """Options are those of :class:`stateguard.Guard`; ``guard=`` shares one guard with other middlewares."""

    def __init__(self, *, guard: Guard | None = None, **options: Unpack[Options]) -> None:
        if guard is not None and options:
            raise ConfigError(f"give either guard= or options, not both: {', '.join(sorted(options))}")
        self.guard = guard if guard is not None else Guard(**options)

    async def __call__(self, ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        """Handle one message: guarded if it runs the application's code, passed on as it is if not."""
        if ctx.method not in METHODS or self.guard.mode == "off":
            return await call_next(ctx)
        params = dict(ctx.params or {})
        name = str(params.get("name") or params.get("uri") or ctx.method)
        arguments = params.get("arguments")
        return await self.guard.run(name, call_next(ctx), method=ctx.method, data=arguments)
