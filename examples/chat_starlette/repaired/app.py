"""The web service: ``uvicorn examples.chat_starlette.repaired.app:app``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from examples.chat_starlette.repaired.agent import SupportAgent
from examples.chat_starlette.repaired.auth import conversation_of, sign_in
from stateguard import Guard, request_context
from stateguard.asgi import StateGuardMiddleware
from stateguard.sessions import SQLiteStore

# REPAIRED: conversations live in a database, by customer: a module global is gone at the next deployment, is
# another one in every worker process, and belongs to everybody.
STORE = SQLiteStore(os.environ.get("CHAT_DB", "conversations.sqlite3"))

guard = Guard(watch=["examples.chat_starlette.repaired.*"])


async def chat(request: Request) -> JSONResponse:
    """Answer in one piece: ``{"message": ...}`` in, ``{"reply": ..., "steps": [...]}`` out."""
    sign_in(request)
    agent = SupportAgent(request_context())
    reply = await agent.answer((await request.json())["message"])
    return JSONResponse({"reply": reply, "steps": agent.steps})


async def chat_stream(request: Request) -> StreamingResponse:
    """Answer word by word, as plain text."""
    sign_in(request)
    message = (await request.json())["message"]
    agent = SupportAgent(request_context())

    async def words() -> AsyncIterator[str]:
        async for word in agent.stream(message):
            yield word

    return StreamingResponse(words(), media_type="text/plain; charset=utf-8")


app = Starlette(
    routes=[
        Route("/chat", chat, methods=["POST"]),
        Route("/chat/stream", chat_stream, methods=["POST"]),
    ],
    middleware=[
        Middleware(
            StateGuardMiddleware,
            guard=guard,
            store=STORE,
            session_id=conversation_of,
            user_id=conversation_of,
        )
    ],
)
