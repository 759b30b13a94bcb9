"""Credentials are never shown, not even by a guard that shows values, wherever they come from."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from stateguard import Guard, Leak
from stateguard.asgi import StateGuardMiddleware
from stateguard.credentials import is_secret_name, looks_like_credential, without
from tests.alarm import restorable as state

SECRET = "hunter2-and-more"
FORMS = [
    "Bearer abcdefgh12345678",
    "Basic dXNlcjpwYXNzd29yZA==",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln",
    "sk-ant-api03-abcdefghijklmnop",
    "sk_live_abcdefghijklmnop",
    "ghp_abcdefghijklmnopqrstuv",
    "xoxb-123456789012-abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN RSA PRIVATE KEY-----",
    "postgres://user:hunter2@db/app",
    "password=hunter2",
]


@pytest.fixture(autouse=True)
def _clean() -> Any:
    yield
    state.DICT.clear()
    state.DICT.update(a=1, b=2)
    del state.LIST[1:]
    state.NAME = "nobody"
    state.CONFIG.__dict__.clear()


def _leaks(write: Any, **options: Any) -> list[Leak]:
    guard = Guard(watch=["tests.alarm.restorable"], process=False, show_values=True, on_leak=str, **options)
    with guard.request("first"):
        pass
    with guard.request("job"):
        write()
    guard.close()
    return guard.leaks


@pytest.mark.parametrize("text", FORMS)
def test_the_form_of_a_credential_is_known(text: str) -> None:
    assert looks_like_credential(text)
    assert looks_like_credential(text.encode())
    (leak,) = _leaks(lambda: state.LIST.append(f"see {text} there"))
    assert text not in json.dumps(leak.to_dict())
    assert "<redacted>" in leak.after


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize("encode", [str, str.encode], ids=["str", "bytes"])
def test_a_key_of_that_form_is_shown_by_its_hash(text: str, encode: Any) -> None:
    (leak,) = _leaks(lambda: state.DICT.__setitem__(encode(text), "ann"))
    assert text not in json.dumps(leak.to_dict())
    assert leak.path.startswith("tests.alarm.restorable.DICT[<")
    assert "ann" in leak.after


@pytest.mark.parametrize(
    "text", ["hello there", "skiing-in-the-alps-is-fun", "https://example.org/a:b", "tokens"]
)
def test_other_texts_are_shown(text: str) -> None:
    assert not looks_like_credential(text)
    (leak,) = _leaks(lambda: state.LIST.append(text))
    assert text in leak.after


WRITES = {
    "key": lambda: state.DICT.__setitem__("X-Api-Key", SECRET),
    "nested": lambda: state.DICT.__setitem__("user", {"name": "ann", "password": SECRET}),
    "attribute": lambda: setattr(state.CONFIG, "session_token", SECRET),
    "below a secret name": lambda: state.DICT.__setitem__("cookies", {"a": SECRET}),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_name_tells_that_its_value_is_a_credential(name: str) -> None:
    leaks = _leaks(WRITES[name])
    assert leaks
    assert SECRET not in json.dumps([leak.to_dict() for leak in leaks])


def test_names() -> None:
    assert all(map(is_secret_name, ["password", "DB_PASSWORD", "X-Api-Key", b"Cookie", "pin", "accessToken"]))
    assert not any(map(is_secret_name, ["name", "spin", "author", 7, None, "k" * 1000]))


@pytest.mark.parametrize("secret", ["s3cret!", 'it\'s "quoted"\n', "x" * 500, "\ud800abc", "tab\there"])
def test_what_a_request_brings_as_a_credential_is_hidden_wherever_it_lands(secret: str) -> None:
    text = f"{secret} {secret!r} {secret[:80]}..."
    hidden = without(text, frozenset({secret}))
    assert secret[:30] not in hidden


def test_a_request_with_credentials_of_every_kind() -> None:
    pair = base64.b64encode(b"ann:pass-word-1").decode()
    body = json.dumps({"user": "ann", "credentials": {"password": "pass-word-2"}, "say": "hello"})
    guard = Guard(watch=["tests.alarm.restorable"], process=False, show_values=True, on_leak=str)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        words = ["pass-word-1", "pass-word-2", "cookie-value-3", "query-value-4", "header-value-5"]
        state.LIST.extend([f"a {word} b" for word in words[:3]])
        state.LIST.extend([f"a {word} b" for word in words[3:]])
        state.NAME = f"hello {words} {message['body'].decode()[-8:]}"
        state.DICT["cookie-value-3"] = "say hello"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        return {"type": "http.request", "body": body.encode()}

    async def send(message: Any) -> None:
        """Nobody listens."""

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "query_string": b"token=query-value-4",
        "headers": [
            (b"authorization", f"Basic {pair}".encode()),
            (b"cookie", b"sid=cookie-value-3; theme=dark"),
            (b"x-api-key", b"header-value-5"),
        ],
    }
    asyncio.run(StateGuardMiddleware(app, guard=guard)(scope, receive, send))
    guard.close()
    text = json.dumps([leak.to_dict() for leak in guard.leaks])
    for secret in ("pass-word-1", "pass-word-2", "cookie-value-3", "query-value-4", "header-value-5", pair):
        assert secret not in text
    assert "hello" in text
    assert len(guard.leaks) >= 3
