"""Run an ASGI application as a server would, and write down everything that can be noticed from outside."""

from __future__ import annotations

from collections import deque

import anyio

BACKENDS = ["asyncio", "trio"]


def http_scope(**more):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/chat",
        "raw_path": b"/chat",
        "query_string": b"q=1",
        "root_path": "",
        "headers": [(b"host", b"example.org")],
        "client": ("127.0.0.1", 4000),
        "server": ("127.0.0.1", 80),
        **more,
    }


def websocket_scope(**more):
    scope = http_scope(type="websocket", scheme="ws", subprotocols=[], **more)
    del scope["method"]
    return scope


class Server:
    """One connection: hands out ``inbox``, records what is sent, in order, as the objects they are."""

    def __init__(self, inbox=()):
        self.inbox = deque(inbox)
        self.events = []

    async def receive(self):
        await anyio.sleep(0)
        if not self.inbox:
            raise RuntimeError("nothing more to receive")
        message = self.inbox.popleft()
        self.events.append(("received", message))
        return message

    async def send(self, message):
        await anyio.sleep(0)
        self.events.append(("sent", message))
        if not isinstance(message, dict):
            raise TypeError("a message must be a dict")


async def converse(app, scope, inbox=()):
    """``(events, outcome)``: the outcome is what came out of the application, returned or raised."""
    server = Server(inbox)
    try:
        outcome = ("returned", await app(scope, server.receive, server.send))
    except BaseException as error:
        outcome = ("raised", type(error), repr(error.args), _chain(error))
    return server.events, outcome


def _chain(error):
    context = error.__context__
    return (
        type(error.__cause__),
        error.__suppress_context__,
        None if context is None else (type(context), _chain(context)),
    )


def run(function, *args, backend="asyncio"):
    return anyio.run(function, *args, backend=backend)


OK = [
    {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]},
    {"type": "http.response.body", "body": b"ok"},
]


async def hello(scope, receive, send):
    """The smallest application."""
    for message in OK:
        await send(message)
