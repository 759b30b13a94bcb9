"""What one conversation of an agent keeps: history, tool results, usage and cost.

The class is a plain dataclass without any tie to a framework or a store; ``session_factory=`` replaces it
with a class of your own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateguard.prices import Prices

Usage = Mapping[str, Any] | object
"""The ``usage`` of an ``anthropic`` response, or a mapping with the same names."""


@dataclass(slots=True)
class TokenUsage:
    """Tokens spent so far. ``input`` does not include what was written to or read from the prompt cache."""

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0

    @property
    def total(self) -> int:
        """All tokens, of every kind."""
        return self.input + self.output + self.cache_write + self.cache_read


# Decimal(0) leaves a variable in the context that imports this, and so in that of every request: where it is,
# setting another one takes longer.
_NOTHING = Context().run(Decimal, 0)


@dataclass
class AgentSession:
    """The state of one conversation; the default kind of session.

    ``history`` holds messages as ``anthropic``'s ``messages=`` wants them. ``tool_results`` maps a tool-use
    id to what the tool returned, ``metadata`` is yours. With a store, every value must be one that JSON can
    hold (dates, ``Decimal``, ``UUID``, ``bytes``, tuples and sets are kept as what they are).
    """

    session_id: str = field(default_factory=lambda: os.urandom(16).hex())
    user_id: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    tool_results: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    tool_calls: int = 0
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost: Decimal = _NOTHING

    def add_message(self, role: str, content: Any) -> dict[str, Any]:
        """Append a message to the history and return it.

        ``content`` is text, a list of content blocks, or the ``content`` of an ``anthropic`` response; blocks
        that are model objects are kept as plain dictionaries, which the API takes back.
        """
        message = {"role": role, "content": _plain(content)}
        self.history.append(message)
        return message

    def record_tool_call(self, tool_use_id: str, result: Any, *, name: str | None = None) -> None:
        """Count one tool call and keep its result under ``tool_use_id``, with the tool's ``name`` if any."""
        self.tool_calls += 1
        self.tool_results[tool_use_id] = result if name is None else {"name": name, "result": result}

    def record_usage(self, response: Usage, prices: Prices | None = None) -> Decimal:
        """Add the token usage of an ``anthropic`` response (or of its ``usage``); return what it cost.

        ``prices`` are per million tokens; without them the tokens are counted and the cost is 0. Raises
        ``TypeError`` when ``response`` holds no token counts.
        """
        spent = read_usage(response)
        self.usage.input += spent.input
        self.usage.output += spent.output
        self.usage.cache_write += spent.cache_write
        self.usage.cache_read += spent.cache_read
        cost = prices.cost(spent) if prices is not None else Decimal(0)
        self.cost += cost
        return cost


def read_usage(response: Usage) -> TokenUsage:
    """The token counts of an ``anthropic`` message, of its ``usage``, or of a mapping with the same names.

    The field names are those of the Messages API: ``input_tokens``, ``output_tokens``,
    ``cache_creation_input_tokens`` and ``cache_read_input_tokens``; the last two may be absent or ``None``.
    """
    usage = _get(response, "usage")
    usage = response if usage is None else usage
    counts = [_get(usage, name) for name in _COUNTS]
    if counts[0] is None and counts[1] is None:
        raise TypeError(
            f"{type(response).__name__} holds no token counts: pass the response of messages.create(...), "
            "its usage, or a mapping with input_tokens and output_tokens"
        )
    return TokenUsage(*(0 if count is None else int(count) for count in counts))


_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _get(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _plain(content: Any) -> Any:
    """Model objects (anthropic's are pydantic's) as dictionaries, at any depth of lists and dictionaries."""
    if isinstance(content, list | tuple):
        return [_plain(block) for block in content]
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    dump = getattr(content, "model_dump", None)
    if dump is not None and not isinstance(content, type):
        return dump(mode="json", exclude_unset=True)
    return content
