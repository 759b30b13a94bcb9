"""MCP servers, through the SDK's own client: in memory, and over HTTP with several clients at once."""

from __future__ import annotations

import anyio
import pytest
from mcp.client import Client

from stateguard.integrations.mcp import StateGuardMiddleware


def test_tool_calls_are_requests(page):
    module = page("mcp", "server")
    guard = module.middleware.guard

    async def main():
        async with Client(module.server) as client:
            await client.call_tool("remember", {"text": "my pin is 4711"})
            answer = await client.call_tool("recall", {})
            return answer.content[0].text

    assert anyio.run(main) == "my pin is 4711"
    assert guard.engine.failures == {}
    assert [(leak.path, leak.confidence, leak.severity, str(leak.request)[:20]) for leak in guard.leaks] == [
        (f"{module.__name__}.NOTES", "exact", "critical", "tools/call remember ")
    ]
    guard.close()


def test_several_clients_at_once(page):
    module = page("mcp", "server")
    guard = module.middleware.guard

    async def ask(number):
        async with Client(module.server) as client:
            for turn in range(3):
                await client.call_tool(
                    "recall" if number % 2 else "remember",
                    {"text": f"secret-{number}-{turn}"} if number % 2 == 0 else {},
                )

    async def main():
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(ask, number)

    anyio.run(main)
    assert len(module.NOTES) == 9
    # Clients and server share this process, and its event loop: that no other request did it is certain.
    accused = [
        [info.path for info in ([leak.request] if leak.request else leak.suspects)] for leak in guard.leaks
    ]
    assert accused == [["remember"]] * 9
    guard.close()


def test_raise_mode_answers_with_an_error(state):
    from mcp.server.mcpserver import MCPServer

    middleware = StateGuardMiddleware(watch=[state.__name__], on_leak="raise")
    server = MCPServer("notes", middleware=[middleware])

    @server.tool()
    async def remember(text: str) -> str:
        """Remember."""
        state.leak(text)
        return "noted " + text

    async def main():
        async with Client(server) as client:
            await client.call_tool("remember", {"text": "my pin is 4711"})

    with pytest.raises(BaseException) as caught:
        anyio.run(main)
    assert "noted" not in str(caught.value)
    assert len(middleware.guard.leaks) == 1
    middleware.guard.close()
