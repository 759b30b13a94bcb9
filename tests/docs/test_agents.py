"""docs/agents.md: the real client against the local Messages API, and what the guard says of each service."""

from __future__ import annotations

import sys
import types

import pytest
from starlette.testclient import TestClient

from examples.messages_api import MessagesAPI
from tests.docs.pages import DOCS, blocks

BLOCKS = blocks("agents.md")


@pytest.fixture(scope="module")
def api():
    with MessagesAPI(latency=0.0) as server:
        yield server


@pytest.fixture
def service(api, monkeypatch):
    """``service("leaking")``: that block as a module, its client talking to the local server."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
    loaded = []

    def make(name):
        module = types.ModuleType(f"agent_{name}")
        sys.modules[module.__name__] = module
        loaded.append(module)
        exec(compile(BLOCKS[name], f"agents.md:{name}", "exec"), vars(module))
        return module

    yield make
    for module in loaded:
        del sys.modules[module.__name__]


def guard_of(client):
    return client.app.middleware_stack.app.guard


def finish(client, module):
    """Close the model's client on the loop that its connections belong to."""
    client.portal.call(module.client.close)
    guard_of(client).close()


def test_every_block_is_executed():
    assert set(BLOCKS) == {"leaking", "repaired", "streaming", "tools"}
    assert "```python\n" not in (DOCS / "agents.md").read_text("utf-8")


def talk(client, user, say):
    answer = client.get("/chat", params={"user": user, "say": say})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_leaking(service):
    module = service("leaking")
    with TestClient(module.app) as client:
        talk(client, "ann", "My code word is marigold-41.")
        assert "marigold-41" in talk(client, "bob", "Please remind me what I told you.")
        paths = {leak.path for leak in guard_of(client).leaks if leak.severity == "critical"}
        finish(client, module)
    assert "agent_leaking.HISTORY" in paths
    assert any("x-user" in path for path in paths), paths


def test_repaired(service, api):
    module = service("repaired")
    with TestClient(module.app) as client:
        talk(client, "ann", "My code word is marigold-41.")
        cookies = dict(client.cookies)
        client.cookies.clear()
        assert "marigold-41" not in talk(client, "bob", "Please remind me what I told you.")
        client.cookies.clear()
        client.cookies.update(cookies)
        assert "marigold-41" in talk(client, "ann", "Please remind me what I told you.")
        leaks = [leak for leak in guard_of(client).leaks if leak.severity in ("high", "critical")]
        finish(client, module)
    assert leaks == []
    assert [received.headers["x-user"] for received in list(api.received)[-3:]] == ["ann", "bob", "ann"]


def test_streaming(service):
    module = service("streaming")
    with TestClient(module.app) as client:
        assert "made a note" in talk(client, "ann", "My code word is marigold-41.")
        leaks = [leak for leak in guard_of(client).leaks if leak.severity in ("high", "critical")]
        finish(client, module)
    assert leaks == []


def test_tools(service):
    module = service("tools")
    client = module.app.test_client()
    for user, thing in (("ann", "a lamp"), ("bob", "a chair")):
        answer = client.get("/chat", query_string={"user": user, "say": "Where are my orders?"})
        assert answer.status_code == 200, answer.text
        assert thing in answer.text
    guard = module.app.extensions["stateguard"].guard
    assert [leak for leak in guard.leaks if leak.severity in ("high", "critical")] == []
    guard.close()
    module.client.close()
