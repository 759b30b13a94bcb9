"""What the agent can do besides talking."""

from __future__ import annotations

import asyncio

from anthropic.types import ToolParam

from examples.chat_starlette.repaired.auth import CURRENT_USER
from stateguard import freeze

# REPAIRED: frozen at any depth. A tuple alone would let a request edit the dictionaries in it.
TOOLS: tuple[ToolParam, ...] = freeze(
    (
        {
            "name": "look_up_orders",
            "description": "The open orders of the customer who is asking.",
            "input_schema": {"type": "object", "properties": {}},
        },
    )
)


# REPAIRED: the default is None, and each call without a log makes its own.
async def run_tool(name: str, log: list[str] | None = None) -> tuple[str, list[str]]:
    """Run one tool for the current customer; return its result and what was done so far."""
    log = [] if log is None else log
    await asyncio.sleep(0.01)  # the database
    customer = CURRENT_USER.get()
    result = f"{customer.name} has one open order: {customer.order}."
    log.append(f"{name}: {result}")
    return result, log
