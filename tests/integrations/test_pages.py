"""docs/frameworks: every code block is executed, and what it guards is found."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from mangum import Mangum
from starlette.testclient import TestClient
from werkzeug.test import Client

from stateguard import lifetime
from tests.integrations.pages import PAGES, blocks


def sole(leak):
    """The one request that can have done it."""
    [request] = [leak.request] if leak.request else leak.suspects
    return request


def leaked(guard, module):
    """The leaks of the module's HEARD: severity, method and path of the only request that can have done it.

    Client and server share this process: whether the client's thread has an alibi as well is left open.
    """
    assert guard.engine.failures == {}
    found = []
    for leak in guard.leaks:
        if leak.path == f"{module.__name__}.HEARD":
            request = sole(leak)
            found.append((leak.severity, f"{request.method} {request.path}"))
    return found


GET = ("high", "GET /say/my-words")  # what is in the path only is no data of the request


def ask(app, path="/say/my-words"):
    """One request to an ASGI application, as httpx sends it."""

    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.get(path)

    answer = asyncio.run(main())
    assert answer.status_code == 200, answer.text
    return answer.text


def test_every_block_is_executed():
    source = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for page in PAGES.glob("*.md"):
        text = page.read_text("utf-8")
        assert "```python\n" not in text, f"{page}: a block without a name is not executed"
        for name in blocks(page.stem):
            assert re.search(rf'"{page.stem}", "{name}"', source), f"{page}: {name}"


def test_starlette(page):
    module = page("starlette", "starlette")
    with TestClient(module.app) as client:
        assert client.get("/say?text=my-words").text == "noted"
        guard = client.app.middleware_stack.app.guard
    assert leaked(guard, module) == [("critical", "GET /say")]
    guard.close()


def test_fastapi(page):
    module = page("starlette", "fastapi")
    with TestClient(module.app) as client:
        answers = [client.get(f"/{kind}/ann").json()["session"] for kind in ("async", "sync", "sync")]
    assert len(set(answers)) == 3
    found = [(sole(leak).path, leak.path.partition(".")[2]) for leak in module.guard.leaks]
    assert found == [("/async/ann", "SEEN"), ("/sync/ann", "SEEN"), ("/sync/ann", "SEEN")]
    assert module.guard.unused_allowances() == []
    assert module.SENT == ["ann", "ann"]
    module.guard.close()


def test_flask_extension(page):
    module = page("flask", "extension")
    client = module.app.test_client()
    assert [client.get("/say/my-words").text for _ in range(2)] == ["noted", "noted"]
    with module.app.app_context():
        guard = module.stateguard.guard
    assert leaked(guard, module) == [GET, GET]
    guard.close()


def test_flask_middleware(page):
    module = page("flask", "middleware")
    assert module.app.test_client().get("/say/my-words").text == "noted"
    assert leaked(module.app.wsgi_app.guard, module) == [GET]
    module.app.wsgi_app.guard.close()


def test_litestar(page):
    module = page("others", "litestar")
    assert ask(module.app) == "noted"
    assert leaked(module.guard, module) == [GET]
    module.guard.close()


def guards_that_watch(module):
    """Where a framework makes the middleware itself and keeps it to itself."""
    return [guard for guard in lifetime.guards() if guard.config.watch == (module.__name__,)]


def test_quart(page):
    module = page("others", "quart")
    assert ask(module.app) == "noted"
    assert leaked(module.app.asgi_app.guard, module) == [GET]
    module.app.asgi_app.guard.close()


@pytest.mark.filterwarnings("ignore:.*pkg_resources:UserWarning")  # Pyramid's own imports
@pytest.mark.filterwarnings("ignore:.*pkg_resources:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")  # on Python 3.11, 3.12
@pytest.mark.parametrize("block", ["falcon", "pyramid"])
def test_wsgi_frameworks(block, page):
    module = {"falcon": lambda: page("others", "falcon"), "pyramid": lambda: page("others", "pyramid")}[
        block
    ]()
    assert Client(module.application).get("/say/my-words").text == "noted"
    assert leaked(module.application.guard, module) == [GET]
    module.application.guard.close()


def test_falcon_asgi(page):
    module = page("others", "falcon-asgi")
    assert ask(module.application) == "noted"
    assert leaked(module.application.guard, module) == [GET]
    module.application.guard.close()


def test_plain(page):
    module = page("plain", "asgi")
    assert ask(module.app) == "noted"
    assert [path for _, path in leaked(module.app.guard, module)] == ["GET /say/my-words"]
    module.app.guard.close()
    module = page("plain", "wsgi")
    assert Client(module.app).get("/say/my-words").text == "noted"
    assert [path for _, path in leaked(module.app.guard, module)] == ["GET /say/my-words"]
    module.app.guard.close()


def test_adapters(page):
    module = page("plain", "a2wsgi")
    assert ask(module.asgi_app) == "noted"
    assert Client(module.wsgi_app).get("/say/my-words").text == "noted"
    guards = guards_that_watch(module)
    assert [len(leaked(guard, module)) for guard in guards] == [1, 1]
    for guard in guards:
        guard.close()
    module = page("plain", "asgiref")
    assert ask(module.app) == "noted"
    [guard] = guards_that_watch(module)
    assert len(leaked(guard, module)) == 1
    guard.close()


def test_calls(page):
    module = page("plain", "calls")
    module.handle_message({"id": "message-7", "text": "my-words"})

    async def several():
        questions = [f"question {number}" for number in range(4)]
        return await asyncio.gather(*map(module.handle_question, questions))

    assert asyncio.run(several()) == ["noted"] * 4
    module.nightly("invoices")
    assert leaked(module.guard, module) == [
        ("critical", "CALL consume"),
        *[("critical", "CALL answer")] * 4,
        ("high", "CALL nightly"),
    ]
    assert sole(module.guard.leaks[0]).id == "message-7"
    module.guard.close()


class Context:
    function_name = "chat"
    aws_request_id = "8f5c2e"


def test_lambda_bare(page):
    module = page("aws-lambda", "bare")
    assert module.handler({"text": "my-words"}, Context()) == {"heard": ["my-words"]}
    guard = module.handler.guard
    assert leaked(guard, module) == [("critical", "INVOKE chat")]
    assert sole(guard.leaks[0]).id == "8f5c2e"
    guard.close()


def test_lambda_mangum(page):
    loop = asyncio.new_event_loop()  # Lambda's runtime has one; Mangum asks for it
    asyncio.set_event_loop(loop)
    module = page("aws-lambda", "mangum")
    assert type(module.handler) is Mangum
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/say/my-words",
        "rawQueryString": "",
        "headers": {"host": "example.org", "x-request-id": "from-the-gateway"},
        "requestContext": {
            "http": {
                "method": "GET",
                "path": "/say/my-words",
                "sourceIp": "127.0.0.1",
                "protocol": "HTTP/1.1",
            },
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }
    try:
        answer = module.handler(event, Context())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert (answer["statusCode"], answer["body"]) == (200, "noted")
    [guard] = guards_that_watch(module)
    assert leaked(guard, module) == [GET]
    assert sole(guard.leaks[0]).id == "from-the-gateway"
    guard.close()
