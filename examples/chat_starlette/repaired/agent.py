"""The agent: keeps the conversation, calls the model, runs the tools it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from anthropic.types import Message, MessageParam, TextBlockParam, ToolResultBlockParam

from examples import conversations
from examples.chat_starlette.repaired.auth import current_user
from examples.chat_starlette.repaired.client import CLIENT, MODEL
from examples.chat_starlette.repaired.tools import TOOLS, run_tool
from stateguard import scoped

# REPAIRED: one word more, and every request has a list of its own; the database keeps it for the next one.
HISTORY: list[MessageParam] = scoped(list)


class SupportAgent:
    """Answers one customer's message."""

    def __init__(self) -> None:
        # REPAIRED: set on the instance, so each agent has its own list.
        self.notes: list[str] = []
        self.steps: list[str] = []

    async def answer(self, question: str) -> str:
        """Answer in one piece, using tools as the model asks for them."""
        await self._hear(question)
        messages = list(HISTORY)
        while True:
            message = await CLIENT.messages.create(
                model=MODEL,
                max_tokens=4096,
                system=self._system(),
                messages=messages,
                tools=TOOLS,
                extra_headers={"x-customer": current_user().name},
            )
            if message.stop_reason != "tool_use":
                text = "".join(block.text for block in message.content if block.type == "text")
                return await self._say(text)
            messages += [
                {"role": "assistant", "content": message.content},
                {"role": "user", "content": await self._tool_results(message)},
            ]

    async def stream(self, question: str) -> AsyncIterator[str]:
        """Answer word by word."""
        await self._hear(question)
        async with CLIENT.messages.stream(
            model=MODEL,
            max_tokens=4096,
            system=self._system(),
            messages=list(HISTORY),
            extra_headers={"x-customer": current_user().name},
        ) as stream:
            async for word in stream.text_stream:
                yield word
            await self._say(await stream.get_final_text())

    async def _hear(self, text: str) -> None:
        HISTORY.extend(await self._load("message"))
        self.notes.extend(await self._load("note"))
        await self._remember({"role": "user", "content": text})
        if " my " in text:
            self.notes.append(text)
            await self._keep("note", text)

    async def _say(self, text: str) -> str:
        await self._remember({"role": "assistant", "content": text})
        return text

    async def _remember(self, message: MessageParam) -> None:
        HISTORY.append(message)
        await self._keep("message", message)

    async def _load(self, kind: str) -> list[Any]:
        return await asyncio.to_thread(conversations.load, current_user().name, kind)

    async def _keep(self, kind: str, content: object) -> None:
        await asyncio.to_thread(conversations.keep, current_user().name, kind, content)

    async def _tool_results(self, message: Message) -> list[ToolResultBlockParam]:
        results: list[ToolResultBlockParam] = []
        for block in message.content:
            if block.type == "tool_use":
                result, self.steps = await run_tool(block.name)
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": result})
        return results

    def _system(self) -> list[TextBlockParam]:
        notes = "".join(f"\n- {note}" for note in self.notes)
        return [{"type": "text", "text": f"You are the support agent of a shop. Notes:{notes}"}]
