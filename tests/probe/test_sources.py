"""Requests from files: our own form, HAR, OpenAPI."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from stateguard.errors import ConfigError
from stateguard.probe.openapi import from_openapi
from stateguard.probe.sources import read_file


def test_yaml(tmp_path):
    file = tmp_path / "requests.yaml"
    file.write_text(
        "login:\n  - POST /login name={user}\n"
        "requests:\n  - method: post\n    path: /chat\n    headers: {Authorization: Bearer {canary}}\n"
        '    json: {message: "{canary}"}\n'.replace("Bearer {canary}", "'Bearer {canary}'")
    )
    login, chat = read_file(file)
    assert login.once
    assert login.body == "name={user}"
    filled = chat.fill({"canary": "sgc1"})
    assert json.loads(filled.body) == {"message": "sgc1"}
    assert ("authorization", "Bearer sgc1") in filled.headers


def test_har(tmp_path):
    file = tmp_path / "recorded.har"
    request = {
        "method": "POST",
        "url": "https://shop.test/chat?q=hello",
        "queryString": [{"name": "q", "value": "hello"}],
        "headers": [
            {"name": "Content-Type", "value": "application/json"},
            {"name": "Cookie", "value": "a=b"},
        ],
        "postData": {"text": '{"message": "hello", "n": 1}'},
    }
    file.write_text(json.dumps({"log": {"entries": [{"request": request}]}}))
    (template,) = read_file(file)
    assert template.path == "/chat?q={canary}"
    assert json.loads(template.body) == {"message": "{canary}", "n": 1}
    assert template.headers == (("content-type", "application/json"),)


class Turn(BaseModel):
    message: str
    tags: list[str]
    limit: int = 3


def test_openapi_fills_in_the_bodies():
    app = FastAPI()

    @app.get("/read/{name}")
    async def read(name: str, page: int) -> str:
        return name

    @app.post("/chat")
    async def chat(turn: Turn) -> str:
        return turn.message

    post, get = from_openapi(app.openapi())
    assert json.loads(post.body) == {"message": "{canary}", "tags": ["{canary}"], "limit": 3}
    assert get.path == "/read/{canary}?page=1"


@pytest.mark.parametrize("text", ["", "[]", "{}", "[{}]", "nonsense", '["chat"]'])
def test_files_that_hold_no_requests_are_refused(tmp_path, text):
    file = tmp_path / "requests.json"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read_file(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.json", "[" * 99_999),
        ("number.yaml", "requests: 5"),
        ("itself.yaml", "requests:\n - {path: /a, method: POST, body: &x {m: *x}}"),
        ("entries.har.json", '{"log": []}'),
        (
            "odd.har.json",
            '{"log": {"entries": [1, null, {}, {"request": 5}, {"request": {"url": "http://[::1"}}]}}',
        ),
        ("paths.json", '{"openapi": "3.1", "paths": 5}'),
        ("operation.json", '{"openapi": "3.1", "paths": {"/a": {"post": {"parameters": 5}}}}'),
        ("own.yaml", "login:\n - {path: /l, save: {canary: x}}"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError):
        read_file(tmp_path / name)


def test_models_that_refer_to_each_other_and_huge_demands_end():
    fields = {f"f{n}": {"$ref": "#/components/schemas/Node"} for n in range(30)}
    wide = {"type": "object", "properties": {"name": {"type": "string"}, **fields}, "required": ["name"]}
    long = {"type": "string", "minLength": 10**9}
    many = {"type": "array", "minItems": 10**9, "items": {"type": "string"}}
    body = {
        "type": "object",
        "properties": {"a": long, "b": many, "c": {"$ref": "#/components/schemas/Node"}},
    }
    schema = {
        "openapi": "3.1.0",
        "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": body}}}}}},
        "components": {"schemas": {"Node": wide}},
    }
    (template,) = from_openapi(schema)
    sent = json.loads(template.body)
    assert sent["a"].startswith("{canary}x")
    assert len(sent["b"]) == 1000
    assert sent["c"]["name"] == "{canary}"
    assert len(template.body) < 300_000
