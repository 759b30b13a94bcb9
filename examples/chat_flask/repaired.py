"""The agent on Flask, repaired; each change is marked REPAIRED where the leaking twin says FAULT."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from anthropic import Anthropic
from anthropic.types import Message, MessageParam, TextBlockParam, ToolParam, ToolResultBlockParam
from flask import Flask, Response, abort, jsonify, request

from examples import conversations
from examples.customers import BY_NAME, BY_TOKEN, Customer
from stateguard import Guard, scoped, session
from stateguard.wsgi import StateGuardMiddleware

MODEL = os.environ.get("CHAT_MODEL", "claude-haiku-4-5")
TOOLS: tuple[ToolParam, ...] = (
    {
        "name": "look_up_orders",
        "description": "The open orders of the customer who is asking.",
        "input_schema": {"type": "object", "properties": {}},
    },
)

# REPAIRED: nobody writes to the shared client; what belongs to one call goes with that call (extra_headers).
CLIENT = Anthropic()

# REPAIRED: one word more, and every request has a list of its own; the database keeps it for the next one.
HISTORY: list[MessageParam] = scoped(list)

app = Flask(__name__)
guard = Guard(watch=["examples.chat_flask.repaired"])
app.wsgi_app = StateGuardMiddleware(app.wsgi_app, guard=guard)  # type: ignore[method-assign]


@app.before_request
def sign_in() -> None:
    """Look the caller up by bearer token; everything after this line asks :func:`current_user`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    customer = BY_TOKEN.get(token)
    if scheme != "Bearer" or customer is None:
        abort(401)
    # REPAIRED: the user is kept in this request's session, not in a global.
    session().user_id = customer.name


def current_user() -> Customer:
    """The customer of the request being served."""
    name = session().user_id
    if name is None:
        abort(401)
    return BY_NAME[name]


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

    def __init__(self) -> None:
        # REPAIRED: set on the instance, so each agent has its own list.
        self.notes: list[str] = []
        self.steps: list[str] = []

    def answer(self, question: str) -> str:
        """Answer in one piece, using tools as the model asks for them."""
        self._hear(question)
        messages = list(HISTORY)
        while True:
            message = CLIENT.messages.create(
                model=MODEL,
                max_tokens=4096,
                system=self._system(),
                messages=messages,
                tools=TOOLS,
                extra_headers={"x-customer": current_user().name},
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
            model=MODEL,
            max_tokens=4096,
            system=self._system(),
            messages=list(HISTORY),
            extra_headers={"x-customer": current_user().name},
        ) as stream:
            yield from stream.text_stream
            self._say(stream.get_final_text())

    def _hear(self, text: str) -> None:
        HISTORY.extend(conversations.load(current_user().name, "message"))
        self.notes.extend(conversations.load(current_user().name, "note"))
        self._remember({"role": "user", "content": text})
        if " my " in text:
            self.notes.append(text)
            conversations.keep(current_user().name, "note", text)

    def _say(self, text: str) -> str:
        self._remember({"role": "assistant", "content": text})
        return text

    def _remember(self, message: MessageParam) -> None:
        HISTORY.append(message)
        conversations.keep(current_user().name, "message", message)

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


# REPAIRED: the default is None, and each call without a log makes its own.
def run_tool(name: str, log: list[str] | None = None) -> tuple[str, list[str]]:
    """Run one tool for the current customer; return its result and what was done so far."""
    log = [] if log is None else log
    time.sleep(0.01)  # the database
    customer = current_user()
    result = f"{customer.name} has one open order: {customer.order}."
    log.append(f"{name}: {result}")
    return result, log
