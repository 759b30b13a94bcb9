"""The agent on Flask, repaired; each change is marked REPAIRED where the leaking twin says FAULT."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import cast

from anthropic import Anthropic
from anthropic.types import Message, MessageParam, TextBlockParam, ToolParam, ToolResultBlockParam
from flask import Flask, Response, abort, jsonify, request

from examples.customers import BY_TOKEN, Customer
from stateguard import (
    AgentSession,
    Guard,
    RequestContext,
    RequestVar,
    freeze,
    request_context,
    scoped,
    session,
)
from stateguard.sessions import Request as SessionRequest
from stateguard.sessions import SQLiteStore
from stateguard.wsgi import StateGuardMiddleware

MODEL = os.environ.get("CHAT_MODEL", "claude-haiku-4-5")

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

# REPAIRED: nobody writes to the shared client; what belongs to one call goes with that call (extra_headers).
CLIENT = Anthropic()


def stored_history() -> list[MessageParam]:
    """The history of the conversation that this request belongs to, as the session store has it."""
    return cast("list[MessageParam]", session().history)


def conversation_of(request: SessionRequest) -> str | None:
    """Whose conversation a request goes on with, for the session store: each customer has one."""
    customer = _customer(request.headers.get("authorization", ""))
    return None if customer is None else customer.name


# REPAIRED: the name stays, and stands in each request for the history of the customer who is asking.
HISTORY: list[MessageParam] = scoped(stored_history)

# REPAIRED: one value per request, in place of one for the whole process.
CURRENT_USER = RequestVar[Customer]()

# REPAIRED: conversations live in a database, by customer: a module global is gone at the next deployment, is
# another one in every worker process, and belongs to everybody.
STORE = SQLiteStore(os.environ.get("CHAT_DB", "conversations.sqlite3"))

app = Flask(__name__)
guard = Guard(watch=["examples.chat_flask.repaired"])
app.wsgi_app = StateGuardMiddleware(
    app.wsgi_app, guard=guard, store=STORE, session_id=conversation_of, user_id=conversation_of
)


@app.before_request
def sign_in() -> None:
    """Look the caller up by bearer token; everything after this line asks ``CURRENT_USER.get()``."""
    customer = _customer(request.headers.get("authorization", ""))
    if customer is None:
        abort(401)
    CURRENT_USER.set(customer)


def _customer(authorization: str) -> Customer | None:
    scheme, _, token = authorization.partition(" ")
    return BY_TOKEN.get(token) if scheme == "Bearer" else None


@app.post("/chat")
def chat() -> Response:
    """Answer in one piece: ``{"message": ...}`` in, ``{"reply": ..., "steps": [...]}`` out."""
    agent = SupportAgent(request_context())
    reply = agent.answer(request.get_json()["message"])
    return jsonify(reply=reply, steps=agent.steps)


@app.post("/chat/stream")
def chat_stream() -> Response:
    """Answer word by word, as plain text."""
    words = SupportAgent(request_context()).stream(request.get_json()["message"])
    return Response(words, mimetype="text/plain")


class SupportAgent:
    """Answers one customer's message."""

    def __init__(self, context: RequestContext[AgentSession]) -> None:
        # REPAIRED: what belongs to the request arrives as an argument; the notes are kept in its session.
        self.context = context
        self.notes: list[str] = context.session.metadata.setdefault("notes", [])
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
                extra_headers={"x-customer": CURRENT_USER.get().name},
            )
            self.context.session.record_usage(message)
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
            extra_headers={"x-customer": CURRENT_USER.get().name},
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
                self.context.session.record_tool_call(block.id, result, name=block.name)
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
    customer = CURRENT_USER.get()
    result = f"{customer.name} has one open order: {customer.order}."
    log.append(f"{name}: {result}")
    return result, log
