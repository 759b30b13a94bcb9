"""What a request leaves on a third-party client that all requests share is found; its pools are let be."""

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import pytest
import requests

from stateguard.watch.watcher import Watcher


@pytest.fixture
def module() -> Iterator[Any]:
    module = types.ModuleType("surface_case")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def changed(module: Any, client: object, write: Callable[[Any], object]) -> list[str]:
    module.CLIENT = client
    watcher = Watcher([module.__name__], process=False)
    watcher.start()
    write(client)
    found = [seen.path for seen in watcher.check()]
    assert not watcher.check(), "found once"
    return found


def set_header(client: Any) -> None:
    client.headers["x-user"] = "amelia"


def set_cookie(client: Any) -> None:
    client.cookies.set("session", "amelia")


def set_params(client: Any) -> None:
    client.params = {"user": "amelia"}


@pytest.mark.parametrize("write", [set_header, set_cookie, set_params])
@pytest.mark.parametrize("make", [httpx.Client, httpx.AsyncClient, requests.Session])
def test_http_clients(module: Any, make: Callable[[], object], write: Callable[[Any], object]) -> None:
    found = changed(module, make(), write)
    assert found
    assert all(path.startswith("surface_case.CLIENT.") for path in found)


def set_key(client: Any) -> None:
    client.api_key = "sk-of-amelia"


def set_inner_header(client: Any) -> None:
    client._client.headers["x-user"] = "amelia"


@pytest.mark.parametrize("write", [set_key, set_inner_header])
@pytest.mark.parametrize("make", [anthropic.Anthropic, anthropic.AsyncAnthropic])
def test_the_anthropic_client(
    module: Any, make: Callable[..., object], write: Callable[[Any], object]
) -> None:
    found = changed(module, make(api_key="shared"), write)
    assert found
    assert all(path.startswith("surface_case.CLIENT.") for path in found)


def test_headers_of_the_http_client_that_was_given_to_the_anthropic_client(module: Any) -> None:
    module.HTTP = anthropic.DefaultAsyncHttpxClient()
    client = anthropic.AsyncAnthropic(api_key="shared", http_client=module.HTTP)
    found = changed(module, client, lambda _: set_header(module.HTTP))
    assert len(found) == 1
    assert "headers" in found[0]


def test_using_a_client_is_no_change(module: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    client = httpx.Client(transport=transport)
    assert changed(module, client, lambda client: client.get("http://127.0.0.1/")) == []
