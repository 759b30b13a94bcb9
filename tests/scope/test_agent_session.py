"""AgentSession: messages, tool calls, and usage as anthropic's own response classes give it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from anthropic.types import Message, TextBlock, ToolUseBlock
from anthropic.types import Usage as AnthropicUsage

from stateguard import AgentSession, Prices

RESPONSE = Message(
    id="msg_1",
    type="message",
    role="assistant",
    model="some-model",
    stop_reason="tool_use",
    content=[
        TextBlock(type="text", text="let me look"),
        ToolUseBlock(type="tool_use", id="toolu_1", name="search", input={"q": "tea"}),
    ],
    usage=AnthropicUsage(
        input_tokens=1_000, output_tokens=200, cache_creation_input_tokens=None, cache_read_input_tokens=50
    ),
)


def test_fresh_sessions_share_nothing():
    one, two = AgentSession(), AgentSession()
    one.add_message("user", "hello")
    one.metadata["a"] = 1
    one.usage.input += 1
    assert (two.history, two.metadata, two.usage.total) == ([], {}, 0)
    assert one.session_id != two.session_id


def test_response_content_is_kept_as_plain_blocks():
    session = AgentSession()
    session.add_message("user", "find tea")
    session.add_message("assistant", RESPONSE.content)
    assert session.history == [
        {"role": "user", "content": "find tea"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "let me look"},
                {"type": "tool_use", "id": "toolu_1", "name": "search", "input": {"q": "tea"}},
            ],
        },
    ]


def test_tool_calls_are_counted():
    session = AgentSession()
    session.record_tool_call("toolu_1", {"found": 3}, name="search")
    session.record_tool_call("toolu_2", "ok")
    assert session.tool_calls == 2
    assert session.tool_results == {"toolu_1": {"name": "search", "result": {"found": 3}}, "toolu_2": "ok"}


@pytest.mark.parametrize(
    "response", [RESPONSE, RESPONSE.usage, RESPONSE.to_dict(), RESPONSE.usage.model_dump()]
)
def test_usage_and_cost_add_up_exactly(response):
    session = AgentSession()
    prices = Prices(input="3", output=15, cache_write=3.75, cache_read="0.30")
    first = session.record_usage(response, prices)
    session.record_usage(response, prices)
    session.record_usage(response)
    assert first == Decimal("0.006015")  # (1000 * 3 + 200 * 15 + 50 * 0.30) / 1,000,000
    assert session.cost == 2 * first
    assert (session.usage.input, session.usage.output, session.usage.cache_read) == (3_000, 600, 150)


@pytest.mark.parametrize("nothing", [None, {}, "text", {"usage": {}}])
def test_what_holds_no_usage_is_refused(nothing):
    with pytest.raises(TypeError, match="no token counts"):
        AgentSession().record_usage(nothing)
