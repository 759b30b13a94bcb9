"""A small local server that speaks the Messages API, so that the examples need no key and no network.

It answers ``POST /v1/messages`` as JSON or as server-sent events, calls tools, checks requests and refuses
bad ones with errors of the API's shape. Point the real client at it::

    with MessagesAPI() as api:
        client = anthropic.Anthropic(base_url=api.url, api_key="any")

or run it alone: ``python -m examples.messages_api --port 8088``. The wire format follows the public API
reference (https://docs.anthropic.com/en/api/messages and .../messages-streaming).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from examples.scripted_model import Answer, count_tokens, think

MAX_BODY = 32 * 1024 * 1024
"""The real API refuses larger requests with 413."""

CHUNK = re.compile(r"(?:\S+\s*){1,6}")
"""What one event of a stream carries: six words, about what the real API sends at a time."""

_ids = count(1)


class APIError(Exception):
    """An error to be answered in the API's shape."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Received:
    """One accepted request, as tests and the main job look at it."""

    headers: dict[str, str]
    body: dict[str, Any]


class MessagesAPI:
    """The server in a thread of this process, on a free port of the loopback interface.

    ``latency`` is the pause before the first token in seconds; a streamed chunk takes a tenth of it.
    ``received`` holds the newest 10,000 accepted requests.
    """

    def __init__(self, *, latency: float = 0.02, port: int = 0) -> None:
        self.received: deque[Received] = deque(maxlen=10_000)
        self.latency = latency
        self.app = Starlette(
            routes=[Route("/v1/messages", self._messages, methods=["POST"])],
            exception_handlers={APIError: _on_api_error, HTTPException: _on_http_error},
        )
        self._socket = socket.create_server(("127.0.0.1", port))
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_level="warning", lifespan="off"))
        self._thread = threading.Thread(target=self.serve, name="messages-api", daemon=True)

    @property
    def url(self) -> str:
        """What to give the client as ``base_url``."""
        return "http://{}:{}".format(*self._socket.getsockname()[:2])

    def serve(self) -> None:
        """Serve in this thread until the server is told to stop."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    async def _messages(self, request: Request) -> Response:
        body = await _checked(request)
        self.received.append(Received(dict(request.headers), body))
        answer = think(body)
        await asyncio.sleep(self.latency)
        message = _message(body, answer)
        headers = {"request-id": f"req_{next(_ids):024d}"}
        if body.get("stream"):
            events = _stream(message, pause=self.latency / 10)
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        return JSONResponse(message, headers=headers)


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, APIError)
    return _error(error.status, error.kind, str(error))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
    return _error(error.status_code, kind, error.detail)


def _error(status: int, kind: str, message: str) -> JSONResponse:
    request_id = f"req_{next(_ids):024d}"
    content = {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    return JSONResponse(content, status, headers={"request-id": request_id})


async def _checked(request: Request) -> dict[str, Any]:
    """The request's body; raises :class:`APIError` where the real API would refuse it."""
    headers = request.headers
    if not (headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()):
        raise APIError(401, "authentication_error", "x-api-key header is required")
    if "anthropic-version" not in headers:
        raise APIError(400, "invalid_request_error", "anthropic-version: header is required")
    raw = await request.body()
    if len(raw) > MAX_BODY:
        raise APIError(413, "request_too_large", "Request exceeds the maximum size")
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise _invalid(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise _invalid("The request body must be a JSON object")
    for field in ("model", "messages", "max_tokens"):
        if field not in body:
            raise _invalid(f"{field}: Field required")
    if not isinstance(body["model"], str) or not body["model"].startswith("claude-"):
        raise APIError(404, "not_found_error", f"model: {body['model']}")
    limit = body["max_tokens"]
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise _invalid("max_tokens: Input should be greater than or equal to 1")
    _check_messages(body["messages"])
    _check_tools(body)
    return body


def _invalid(message: str) -> APIError:
    return APIError(400, "invalid_request_error", message)


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages: at least one message is required")
    asked: set[str] = set()  # tool_use ids of the message before
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or "content" not in message:
            raise _invalid(f"messages.{index}.content: Field required")
        role, content = message.get("role"), message["content"]
        if role not in ("user", "assistant"):
            raise _invalid(f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant"')
        if index == 0 and role != "user":
            raise _invalid('messages: first message must use the "user" role')
        last_word = index == len(messages) - 1 and role == "assistant"
        if not content and not last_word:
            raise _invalid(
                f"messages.{index}: all messages must have non-empty content "
                "except for the optional final assistant message"
            )
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list):
            raise _invalid(f"messages.{index}.content: Input should be a string or a list of blocks")
        answered = _check_blocks(index, role, blocks, asked)
        if asked - answered:
            missing = ", ".join(sorted(asked - answered))
            raise _invalid(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {missing}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message."
            )
        asked = {block["id"] for block in blocks if block["type"] == "tool_use"}
    if asked:
        raise _invalid(
            f"messages: `tool_use` ids were found without `tool_result` blocks: {', '.join(asked)}"
        )


def _check_blocks(index: int, role: str, blocks: list[Any], asked: set[str]) -> set[str]:
    """Check one message's blocks; return the ids of the tool calls that it answers."""
    answered = set()
    for position, block in enumerate(blocks):
        where = f"messages.{index}.content.{position}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            if not isinstance(block.get("text"), str):
                raise _invalid(f"{where}.text: Field required")
            if not block["text"].strip():
                raise _invalid("messages: text content blocks must be non-empty")
        elif kind == "tool_use":
            if role != "assistant":
                raise _invalid(f"{where}: `tool_use` blocks can only be in `assistant` messages")
            if not re.fullmatch(r"[a-zA-Z0-9_-]+", str(block.get("id", ""))):
                raise _invalid(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        elif kind == "tool_result":
            if role != "user" or block.get("tool_use_id") not in asked:
                raise _invalid(
                    f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block.get('tool_use_id')}. Each `tool_result` block must have a corresponding "
                    "`tool_use` block in the previous message."
                )
            answered.add(block["tool_use_id"])
        else:
            raise _invalid(f"{where}: Input tag '{kind}' is not supported by this local server")
    return answered


def _check_tools(body: dict[str, Any]) -> None:
    names = []
    for index, tool in enumerate(body.get("tools") or []):
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", str(tool.get("name", ""))):
            raise _invalid(f"tools.{index}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool.get("input_schema", {}).get("type") != "object":
            raise _invalid(f"tools.{index}.input_schema.type: Input should be 'object'")
        names.append(tool["name"])
    if len(set(names)) != len(names):
        raise _invalid("tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice and choice.get("type") == "tool" and choice.get("name") not in names:
        raise _invalid(f"Tool '{choice.get('name')}' not found in provided tools")


def _message(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The complete message, as the JSON answer and as the source of the stream."""
    text, reason, sequence = answer.text, "end_turn", None
    for stop in body.get("stop_sequences") or []:
        if stop in text:
            text, reason, sequence = text.partition(stop)[0], "stop_sequence", stop
    if count_tokens(text) > body["max_tokens"]:
        text, reason, sequence = text[: 4 * body["max_tokens"]], "max_tokens", None
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    if answer.tool is not None and reason == "end_turn":
        tool_id = f"toolu_{next(_ids):022d}"
        content.append({"type": "tool_use", "id": tool_id, "name": answer.tool, "input": answer.tool_input})
        reason = "tool_use"
    return {
        "id": f"msg_{next(_ids):022d}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": {
            "input_tokens": count_tokens([body.get("system"), body.get("tools"), body["messages"]]),
            "output_tokens": count_tokens(content),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


async def _stream(message: dict[str, Any], pause: float) -> AsyncIterator[str]:
    for event in stream_events(message):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        if event["type"] == "content_block_delta":
            await asyncio.sleep(pause)


def stream_events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that a streamed answer consists of, in the order the API sends them."""
    usage = message["usage"]
    opening = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield {"type": "message_start", "message": opening}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in CHUNK.findall(block["text"])]
        else:
            empty = {**block, "input": {}}
            whole = json.dumps(block["input"])
            parts = ("", whole[: len(whole) // 2], whole[len(whole) // 2 :])
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A local stand-in for the Messages API.")
    parser.add_argument("--port", type=int, default=8088)
    parser.add_argument("--latency", type=float, default=0.02, help="seconds before the first token")
    options = parser.parse_args()
    api = MessagesAPI(latency=options.latency, port=options.port)
    print(f"ANTHROPIC_BASE_URL={api.url} ANTHROPIC_API_KEY=local", flush=True)
    api.serve()


if __name__ == "__main__":
    main()
