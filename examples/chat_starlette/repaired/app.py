"""The web service: ``uvicorn examples.chat_starlette.repaired.app:app``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from examples.chat_starlette.repaired.agent import SupportAgent
from examples.chat_starlette.repaired.auth import sign_in
from stateguard import Guard
from stateguard.asgi import StateGuardMiddleware

guard = Guard(watch=["examples.chat_starlette.repaired.*"])


async def chat(request: Request) -> JSONResponse:
    """Answer in one piece: ``{"message": ...}`` in, ``{"reply": ..., "steps": [...]}`` out."""
    sign_in(request)
    agent = SupportAgent()
    reply = await agent.answer((await request.json())["message"])
    return JSONResponse({"reply": reply, "steps": agent.steps})


async def chat_stream(request: Request) -> StreamingResponse:
    """Answer word by word, as plain text."""
    sign_in(request)
    message = (await request.json())["message"]

    async def words() -> AsyncIterator[str]:
        async for word in SupportAgent().stream(message):
            yield word

    return StreamingResponse(words(), media_type="text/plain; charset=utf-8")


app = Starlette(
    routes=[
        Route("/chat", chat, methods=["POST"]),
        Route("/chat/stream", chat_stream, methods=["POST"]),
    ],
    middleware=[Middleware(StateGuardMiddleware, guard=guard)],
)
