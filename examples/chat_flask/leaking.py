"""The agent on Flask with the classic faults: ``waitress-serve examples.chat_flask.leaking:app``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from anthropic import Anthropic, DefaultHttpxClient
from anthropic.types import Message, MessageParam, TextBlockParam, ToolParam, ToolResultBlockParam
from flask import Flask, Response, abort, jsonify, request

from examples.customers import BY_TOKEN, Customer
from stateguard import Guard
from stateguard.wsgi import StateGuardMiddleware

MODEL = os.environ.get("CHAT_MODEL", "claude-haiku-4-5")
TOOLS: tuple[ToolParam, ...] = (
    {
        "name": "look_up_orders",
        "description": "The open orders of the customer who is asking.",
        "input_schema": {"type": "object", "properties": {}},
    },
)

# FAULT: the requests write the signed-in customer into the headers that all of them share.
HTTP = DefaultHttpxClient()
CLIENT = Anthropic(http_client=HTTP)

# FAULT: one conversation for the whole process.
HISTORY: list[MessageParam] = []

# FAULT: "the current user" is whoever signed in last.
CURRENT_USER: Customer | None = None

app = Flask(__name__)
guard = Guard(watch=["examples.chat_flask.leaking"])
app.wsgi_app = StateGuardMiddleware(app.wsgi_app, guard=guard)


@app.before_request
def sign_in() -> None:
    """Look the caller up by bearer token; everything after this line reads ``CURRENT_USER``."""
    global CURRENT_USER
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    customer = BY_TOKEN.get(token)
    if scheme != "Bearer" or customer is None:
        abort(401)
    CURRENT_USER = customer
    HTTP.headers["x-customer"] = customer.name


@app.post("/chat")
def chat() -> Response:
    """Answer in one piece: ``{"message": ...}`` in, ``{"reply": ..., "steps": [...]}`` out."""
    agent = SupportAgent()
    reply = agent.answer(request.get_json()["message"])
    return jsonify(reply=reply, steps=agent.steps)


@app.post("/chat/stream")
def chat_stream() -> Response:
    """Answer word by word, as plain text."""
    words = SupportAgent().stream(request.get_json()["message"])
    return Response(words, mimetype="text/plain")


class SupportAgent:
    """Answers one customer's message."""

    # FAULT: an annotation with a value is a class attribute: all agents share this list.
    notes: list[str] = []

    def __init__(self) -> None:
        self.steps: list[str] = []

    def answer(self, question: str) -> str:
        """Answer in one piece, using tools as the model asks for them."""
        self._hear(question)
        messages = list(HISTORY)
        while True:
            message = CLIENT.messages.create(
                model=MODEL, max_tokens=4096, system=self._system(), messages=messages, tools=TOOLS
            )
            if message.stop_reason != "tool_use":
                text = "".join(block.text for block in message.content if block.type == "text")
                return self._say(text)
            messages += [
                {"role": "assistant", "content": message.content},
                {"role": "user", "content": self._tool_results(message)},
            ]

    def stream(self, question: str) -> Iterator[str]:
        """Answer word by word."""
        self._hear(question)
        with CLIENT.messages.stream(
            model=MODEL, max_tokens=4096, system=self._system(), messages=list(HISTORY)
        ) as stream:
            yield from stream.text_stream
            self._say(stream.get_final_text())

    def _hear(self, text: str) -> None:
        HISTORY.append({"role": "user", "content": text})
        if " my " in text:
            self.notes.append(text)

    def _say(self, text: str) -> str:
        HISTORY.append({"role": "assistant", "content": text})
        return text

    def _tool_results(self, message: Message) -> list[ToolResultBlockParam]:
        results: list[ToolResultBlockParam] = []
        for block in message.content:
            if block.type == "tool_use":
                result, self.steps = run_tool(block.name)
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": result})
        return results

    def _system(self) -> list[TextBlockParam]:
        notes = "".join(f"\n- {note}" for note in self.notes)
        return [{"type": "text", "text": f"You are the support agent of a shop. Notes:{notes}"}]


# FAULT: the default list is made once, so the log of every customer's tool calls ends up in it.
def run_tool(name: str, log: list[str] = []) -> tuple[str, list[str]]:
    """Run one tool for the current customer; return its result and what was done so far."""
    time.sleep(0.01)  # the database
    customer = CURRENT_USER
    assert customer is not None
    result = f"{customer.name} has one open order: {customer.order}."
    log.append(f"{name}: {result}")
    return result, log
