"""The local Messages API, driven by the real client: what it answers, streams and refuses."""

import json
from collections.abc import Iterator

import anthropic
import httpx
import pytest

from examples.messages_api import MessagesAPI

TOOLS = [
    {
        "name": "look_up_orders",
        "description": "The customer's open orders.",
        "input_schema": {
            "type": "object",
            "properties": {"what": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["what", "limit"],
        },
    }
]
ASK = {"role": "user", "content": "Where is my order?"}
MODEL = "claude-haiku-4-5"


@pytest.fixture(scope="module")
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI(latency=0.0) as server:
        yield server


@pytest.fixture
def client(api: MessagesAPI) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=api.url, api_key="any", max_retries=0) as client:
        yield client


def test_a_plain_question_gets_a_text_a_stop_reason_and_usage(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Hello"}]
    )
    assert message.role == "assistant"
    assert message.stop_reason == "end_turn"
    assert [block.type for block in message.content] == ["text"]
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id is not None
    assert message._request_id.startswith("req_")


def test_it_recalls_what_this_request_holds_and_nothing_else(client: anthropic.Anthropic) -> None:
    history = [
        {"role": "user", "content": "My code word is marigold-41."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Please remind me what I told you."},
    ]
    message = client.messages.create(
        model=MODEL, max_tokens=500, messages=history, system="Notes:\n- likes tea"
    )
    assert "marigold-41" in message.content[0].text
    assert "likes tea" in message.content[0].text
    again = client.messages.create(model=MODEL, max_tokens=500, messages=history[-1:])
    assert again.content[0].text == "You have not told me anything yet."


def test_a_tool_is_called_and_its_result_is_used(client: anthropic.Anthropic) -> None:
    asked = client.messages.create(model=MODEL, max_tokens=500, messages=[ASK], tools=TOOLS)
    assert asked.stop_reason == "tool_use"
    call = asked.content[-1]
    assert (call.type, call.name, call.input) == (
        "tool_use",
        "look_up_orders",
        {"what": "Where is my order?", "limit": 1},
    )
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "One copper kettle."}
    turns = [ASK, {"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=MODEL, max_tokens=500, messages=turns, tools=TOOLS)
    assert answer.stop_reason == "end_turn"
    assert "One copper kettle." in answer.content[0].text


def test_the_stream_builds_the_same_message(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=MODEL, max_tokens=500, messages=[ASK], tools=TOOLS) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert message.stop_reason == "tool_use"
    assert message.content[0].text == "Let me look that up."
    assert message.content[1].input == {"what": "Where is my order?", "limit": 1}
    assert message.usage.output_tokens > 1


@pytest.mark.anyio
async def test_the_async_client_streams_too(api: MessagesAPI) -> None:
    async with anthropic.AsyncAnthropic(base_url=api.url, api_key="any") as client:
        async with client.messages.stream(
            model=MODEL, max_tokens=500, messages=[{"role": "user", "content": "Hello"}]
        ) as stream:
            words = [word async for word in stream.text_stream]
    assert len(words) == 3
    assert "".join(words).startswith("Thank you")


@pytest.mark.parametrize(
    ("options", "reason", "text"),
    [
        ({"max_tokens": 2}, "max_tokens", "Thank yo"),
        ({"max_tokens": 99, "stop_sequences": [", I"]}, "stop_sequence", "Thank you"),
    ],
)
def test_limits_end_the_answer_early(client: anthropic.Anthropic, options, reason: str, text: str) -> None:
    message = client.messages.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}], **options)
    assert (message.stop_reason, message.content[0].text) == (reason, text)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"type": "none"}, "end_turn"),
        ({"type": "any"}, "tool_use"),
        ({"type": "tool", "name": "look_up_orders"}, "tool_use"),
    ],
)
def test_tool_choice_is_obeyed(client: anthropic.Anthropic, choice, reason: str) -> None:
    message = client.messages.create(
        model=MODEL,
        max_tokens=99,
        messages=[{"role": "user", "content": "Hi"}],
        tools=TOOLS,
        tool_choice=choice,
    )
    assert message.stop_reason == reason


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "a", "input": {}}]}
STRAY = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_9", "content": "x"}]}


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"messages": []}, anthropic.BadRequestError, "at least one message"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, anthropic.BadRequestError, "first message"),
        ({"messages": [{"role": "system", "content": "Hi"}]}, anthropic.BadRequestError, "Unexpected role"),
        ({"messages": [{"role": "user", "content": ""}]}, anthropic.BadRequestError, "non-empty content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]},
            anthropic.BadRequestError,
            "text content blocks must be non-empty",
        ),
        ({"messages": [ASK, CALL, ASK]}, anthropic.BadRequestError, "without `tool_result` blocks"),
        ({"messages": [ASK, CALL]}, anthropic.BadRequestError, "without `tool_result` blocks"),
        ({"messages": [ASK, STRAY]}, anthropic.BadRequestError, "unexpected `tool_use_id`"),
        ({"max_tokens": 0}, anthropic.BadRequestError, "greater than or equal to 1"),
        ({"model": "gpt-x"}, anthropic.NotFoundError, "model: gpt-x"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, anthropic.BadRequestError, "unique"),
        ({"tools": [{"name": "no spaces"}]}, anthropic.BadRequestError, "should match pattern"),
        ({"tool_choice": {"type": "tool", "name": "b"}}, anthropic.BadRequestError, "not found in provided"),
    ],
)
def test_bad_requests_are_refused_as_the_api_refuses_them(
    client: anthropic.Anthropic, change, error, words: str
) -> None:
    request = {"model": MODEL, "max_tokens": 10, "messages": [ASK], **change}
    with pytest.raises(error, match=words) as caught:
        client.messages.create(**request)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["request_id"] == caught.value.request_id


@pytest.mark.parametrize(
    ("headers", "content", "status", "kind"),
    [
        ({}, b"{}", 401, "authentication_error"),
        ({"x-api-key": "k"}, b"{}", 400, "invalid_request_error"),
        ({"x-api-key": "k", "anthropic-version": "2023-06-01"}, b"{", 400, "invalid_request_error"),
        ({"x-api-key": "k", "anthropic-version": "2023-06-01"}, b"[]", 400, "invalid_request_error"),
        (
            {"authorization": "Bearer k", "anthropic-version": "2023-06-01"},
            b"{}",
            400,
            "invalid_request_error",
        ),
    ],
)
def test_raw_requests(api: MessagesAPI, headers, content: bytes, status: int, kind: str) -> None:
    answer = httpx.post(f"{api.url}/v1/messages", headers=headers, content=content)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def test_other_paths_and_methods_are_errors_of_the_same_shape(api: MessagesAPI) -> None:
    assert httpx.get(f"{api.url}/v1/nothing").json()["error"]["type"] == "not_found_error"
    assert httpx.get(f"{api.url}/v1/messages").status_code == 405


def test_what_was_received_can_be_looked_at(api: MessagesAPI, client: anthropic.Anthropic) -> None:
    client.messages.create(model=MODEL, max_tokens=9, messages=[ASK], extra_headers={"x-customer": "Mei"})
    newest = api.received[-1]
    assert newest.headers["x-customer"] == "Mei"
    assert json.dumps(newest.body["messages"]) == json.dumps([ASK])
