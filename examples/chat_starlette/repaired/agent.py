"""The agent: keeps the conversation, calls the model, runs the tools it asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

from anthropic.types import Message, MessageParam, TextBlockParam, ToolResultBlockParam

from examples.chat_starlette.repaired.auth import CURRENT_USER
from examples.chat_starlette.repaired.client import CLIENT, MODEL
from examples.chat_starlette.repaired.tools import TOOLS, run_tool
from stateguard import AgentSession, RequestContext, scoped, session


def stored_history() -> list[MessageParam]:
    """The history of the conversation that this request belongs to, as the session store has it."""
    return cast("list[MessageParam]", session().history)


# REPAIRED: the name stays, and stands in each request for the history of the customer who is asking.
HISTORY: list[MessageParam] = scoped(stored_history)


class SupportAgent:
    """Answers one customer's message."""

    def __init__(self, context: RequestContext[AgentSession]) -> None:
        # REPAIRED: what belongs to the request arrives as an argument; the notes are kept in its session.
        self.context = context
        self.notes: list[str] = context.session.metadata.setdefault("notes", [])
        self.steps: list[str] = []

    async def answer(self, question: str) -> str:
        """Answer in one piece, using tools as the model asks for them."""
        self._hear(question)
        messages = list(HISTORY)
        while True:
            message = await CLIENT.messages.create(
                model=MODEL,
                max_tokens=4096,
                system=self._system(),
                messages=messages,
                tools=TOOLS,
                extra_headers={"x-customer": CURRENT_USER.get().name},
            )
            self.context.session.record_usage(message)
            if message.stop_reason != "tool_use":
                text = "".join(block.text for block in message.content if block.type == "text")
                return self._say(text)
            messages += [
                {"role": "assistant", "content": message.content},
                {"role": "user", "content": await self._tool_results(message)},
            ]

    async def stream(self, question: str) -> AsyncIterator[str]:
        """Answer word by word."""
        self._hear(question)
        async with CLIENT.messages.stream(
            model=MODEL,
            max_tokens=4096,
            system=self._system(),
            messages=list(HISTORY),
            extra_headers={"x-customer": CURRENT_USER.get().name},
        ) as stream:
            async for word in stream.text_stream:
                yield word
            self._say(await stream.get_final_text())

    def _hear(self, text: str) -> None:
        HISTORY.append({"role": "user", "content": text})
        if " my " in text:
            self.notes.append(text)

    def _say(self, text: str) -> str:
        HISTORY.append({"role": "assistant", "content": text})
        return text

    async def _tool_results(self, message: Message) -> list[ToolResultBlockParam]:
        results: list[ToolResultBlockParam] = []
        for block in message.content:
            if block.type == "tool_use":
                result, self.steps = await run_tool(block.name)
                self.context.session.record_tool_call(block.id, result, name=block.name)
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": result})
        return results

    def _system(self) -> list[TextBlockParam]:
        notes = "".join(f"\n- {note}" for note in self.notes)
        return [{"type": "text", "text": f"You are the support agent of a shop. Notes:{notes}"}]
