"""The mind behind the local Messages API: answers by rule, from nothing but the request it is given.

It has no memory of its own. Whatever it says about a person, it read in that request: so when an answer
holds another customer's words, the *service* sent them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wants to say: a text, and perhaps one call of a tool."""

    text: str
    tool: str | None = None
    tool_input: dict[str, Any] | None = None


def think(body: dict[str, Any]) -> Answer:
    """Answer the request ``body`` of ``POST /v1/messages``."""
    turns = _merged(body["messages"])
    role, blocks = turns[-1]
    if role == "assistant":
        return Answer("and that is all I have to add.")
    results = [_text_of(block["content"]) for block in blocks if block["type"] == "tool_result"]
    if results:
        return Answer("I looked it up: " + " ".join(results))
    question = " ".join(block["text"] for block in blocks if block["type"] == "text")
    tool = _wanted_tool(body, question)
    if tool is not None:
        return Answer("Let me look that up.", tool["name"], _example_input(tool, question))
    if re.search(r"\b(remind|remember|told you|know about me)\b", question, re.IGNORECASE):
        return Answer(_recall(body, turns))
    return Answer("Thank you, I made a note of that. What else can I do for you?")


def _merged(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Turns with consecutive messages of one role joined, as the real API joins them."""
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks)
        else:
            turns.append((message["role"], blocks))
    return turns


def _text_of(content: Any) -> str:
    """The text of a ``tool_result``'s content, which is a string, a list of blocks or missing."""
    if isinstance(content, list):
        return " ".join(block.get("text", "") for block in content)
    return str(content or "(nothing)")


def _wanted_tool(body: dict[str, Any], question: str) -> dict[str, Any] | None:
    """The tool that the request's ``tool_choice`` and the user's words ask for."""
    tools: list[dict[str, Any]] = body.get("tools") or []
    choice = body.get("tool_choice") or {"type": "auto"}
    if not tools or choice["type"] == "none":
        return None
    if choice["type"] == "tool":
        return next(tool for tool in tools if tool["name"] == choice["name"])
    for tool in tools:
        words = [word.rstrip("s") for word in tool["name"].lower().split("_") if len(word) > 3]
        if any(word in question.lower() for word in words):
            return tool
    return tools[0] if choice["type"] == "any" else None


def _example_input(tool: dict[str, Any], question: str) -> dict[str, Any]:
    """An input that fits the tool's schema: each required property gets a value of its type."""
    schema = tool.get("input_schema", {})
    plain: dict[str, Any] = {"string": question, "integer": 1, "number": 1.0, "boolean": True, "array": []}
    properties = schema.get("properties", {})
    return {name: plain.get(properties.get(name, {}).get("type"), {}) for name in schema.get("required", [])}


def _recall(body: dict[str, Any], turns: list[tuple[str, list[dict[str, Any]]]]) -> str:
    """Everything users said before the last turn, and what the system prompt knows about them."""
    said = [
        block["text"] for role, blocks in turns[:-1] if role == "user" for block in blocks if "text" in block
    ]
    system = _text_of(body.get("system")) if body.get("system") else ""
    known = re.findall(r"^- (.+)$", system, re.MULTILINE)
    parts = []
    if said:
        parts.append("You told me: " + " / ".join(said))
    if known:
        parts.append("My notes say: " + " / ".join(dict.fromkeys(known)))
    return " ".join(parts) or "You have not told me anything yet."


def count_tokens(value: Any) -> int:
    """A rough token count: four characters each, at least one."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return max(1, len(text) // 4)
