"""What the agent can do besides talking."""

from __future__ import annotations

import asyncio

from anthropic.types import ToolParam

from examples.chat_starlette.leaking import auth

TOOLS: tuple[ToolParam, ...] = (
    {
        "name": "look_up_orders",
        "description": "The open orders of the customer who is asking.",
        "input_schema": {"type": "object", "properties": {}},
    },
)


# FAULT: the default list is made once, so the log of every customer's tool calls ends up in it.
async def run_tool(name: str, log: list[str] = []) -> tuple[str, list[str]]:
    """Run one tool for the current customer; return its result and what was done so far."""
    await asyncio.sleep(0.01)  # the database
    customer = auth.CURRENT_USER
    assert customer is not None
    result = f"{customer.name} has one open order: {customer.order}."
    log.append(f"{name}: {result}")
    return result, log
