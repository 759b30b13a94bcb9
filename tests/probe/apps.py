"""Leaking applications, one per symptom, and their clean twins: ASGI without a framework, and WSGI."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import os
import sqlite3
import tempfile
import threading
from functools import lru_cache

import redis
import redis.asyncio

from stateguard import AgentSession

CHAT = 'POST /chat {"message": "{canary}"}'

SYMPTOMS = (
    "history", "overwritten", "tool", "locked", "cache", "cookie", "header", "stream", "error_page",
    "websocket", "wsgi", "sqlite", "redis", "wsgi_redis", "cleared",
)  # fmt: skip
"""Each has an application ``NAME_leaking`` here, and its twin ``NAME_clean``."""


def request_for(symptom):
    """The request that shows it."""
    return "WS /chat {canary}" if symptom == "websocket" else CHAT


async def _read(receive):
    message = await receive()
    return json.loads(message.get("body") or b"{}").get("message", "")


async def _reply(send, *chunks, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for chunk in chunks[:-1]:
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": chunks[-1].encode()})


def http(handler):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await handler(scope, receive, send)

    return app


HISTORY: list[str] = []


@http
async def history_leaking(scope, receive, send):
    HISTORY.append(await _read(receive))
    await _reply(send, " | ".join(HISTORY))


@http
async def history_clean(scope, receive, send):
    history = [await _read(receive)]
    await _reply(send, " | ".join(history))


CURRENT = {"user": ""}


@http
async def overwritten_leaking(scope, receive, send):
    CURRENT["user"] = await _read(receive)
    await asyncio.sleep(0.002)
    await _reply(send, CURRENT["user"])


current_user: contextvars.ContextVar[str] = contextvars.ContextVar("current_user")


@http
async def overwritten_clean(scope, receive, send):
    current_user.set(await _read(receive))
    await asyncio.sleep(0.002)
    await _reply(send, current_user.get())


TOOL_RESULTS: list[str] = []


@http
async def tool_leaking(scope, receive, send):
    message = await _read(receive)

    async def tool():
        await asyncio.sleep(0.001)
        TOOL_RESULTS.append(f"result for {message}")

    await asyncio.gather(tool(), tool())
    await _reply(send, TOOL_RESULTS[-1], TOOL_RESULTS[0])
    if len(TOOL_RESULTS) > 8:
        TOOL_RESULTS.clear()  # another request's results go with it


@http
async def tool_clean(scope, receive, send):
    message = await _read(receive)

    async def tool():
        await asyncio.sleep(0.001)
        return f"result for {message}"

    await _reply(send, *await asyncio.gather(tool(), tool()))


LOCKED: list[str] = []
lock = threading.Lock()


@http
async def locked_leaking(scope, receive, send):
    message = await _read(receive)
    with lock:
        LOCKED.append(message)
        text = ",".join(LOCKED)
    await _reply(send, text)


@http
async def locked_clean(scope, receive, send):
    """The same lock around what belongs to one request only."""
    message = await _read(receive)
    with lock:
        turns = [message]
        text = ",".join(turns)
    await _reply(send, text)


CACHE: dict[str, str] = {}


@http
async def cache_leaking(scope, receive, send):
    message = await _read(receive)
    await _reply(send, CACHE.setdefault(scope["path"], f"page of {message}"))


@http
async def cache_clean(scope, receive, send):
    message = await _read(receive)
    await _reply(send, f"page of {message}")


LAST = [""]


@http
async def cookie_leaking(scope, receive, send):
    message = await _read(receive)
    previous, LAST[0] = LAST[0] or message, message
    await _reply(send, f"hello {message}", headers=[(b"set-cookie", f"last={previous}; Path=/".encode())])


@http
async def cookie_clean(scope, receive, send):
    message = await _read(receive)
    await _reply(send, "hello", headers=[(b"set-cookie", f"last={message}; Path=/".encode())])


@http
async def header_leaking(scope, receive, send):
    message = await _read(receive)
    previous, LAST[0] = LAST[0] or message, message
    await _reply(send, f"hello {message}", headers=[(b"x-last", previous.encode())])


@http
async def header_clean(scope, receive, send):
    message = await _read(receive)
    await asyncio.sleep(0.002)
    await _reply(send, "hello", headers=[(b"x-last", message.encode())])


STREAM = [""]


@http
async def stream_leaking(scope, receive, send):
    message = await _read(receive)
    previous, STREAM[0] = STREAM[0], message
    # Cut inside of the canary: no chunk holds it whole.
    await _reply(send, "data: ", previous[:7], previous[7:], "\n\n", f"data: {message}\n\n")


@http
async def stream_clean(scope, receive, send):
    message = await _read(receive)
    await _reply(send, "data: ", message[:7], message[7:], "\n\n")


@http
async def error_page_leaking(scope, receive, send):
    HISTORY.append(await _read(receive))
    if len(HISTORY) % 9 == 0:
        await _reply(send, f"error, state was {HISTORY[-4:]}", status=500)
    else:
        await _reply(send, HISTORY[-1])


ANSWERED = [0]


@http
async def error_page_clean(scope, receive, send):
    """Every twelfth request fails; its page shows what that request itself had kept."""
    kept = [await _read(receive)]
    ANSWERED[0] += 1
    if ANSWERED[0] % 12 == 0:
        await _reply(send, f"error, state was {kept}", status=500)
    else:
        await _reply(send, kept[-1])


SOCKETS: list[str] = []


async def websocket_leaking(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    SOCKETS.append((await receive())["text"])
    await send({"type": "websocket.send", "text": " ".join(SOCKETS)})
    await send({"type": "websocket.close"})


async def websocket_clean(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receive())["text"]})
    await send({"type": "websocket.close"})


@http
async def echoes_cookies(scope, receive, send):
    """Clean, but data would travel through any cookie jar that users share."""
    message = await _read(receive)
    cookies = b";".join(value for name, value in scope["headers"] if name == b"cookie").decode()
    await asyncio.sleep(0.002)
    await _reply(send, f"{cookies} {message}", headers=[(b"set-cookie", f"me={message}; Path=/".encode())])


first_message: contextvars.ContextVar[str] = contextvars.ContextVar("first_message", default="")


@http
async def sets_once_per_context(scope, receive, send):
    """Clean under every server that gives a request its own context."""
    if not first_message.get():
        first_message.set(await _read(receive))
    await _reply(send, first_message.get())


@http
async def mute(scope, receive, send):
    HISTORY.append(await _read(receive))
    await _reply(send, "ok")


@http
async def broken(scope, receive, send):
    raise RuntimeError("no database")


@http
async def half_broken(scope, receive, send):
    message = await _read(receive)
    await _reply(send, message, status=503 if message[3] in "048c" else 200)


@http
async def tokens(scope, receive, send):
    """Gives a token at login, and tells whom it was given to."""
    if scope["path"] == "/login":
        await _reply(send, json.dumps({"session": {"token": f"t-{await _read(receive)}"}}))
    else:
        await _reply(send, dict(scope["headers"]).get(b"authorization", b"nobody").decode())


def _message(environ):
    size = int(environ["CONTENT_LENGTH"])
    return json.loads(environ["wsgi.input"].read(size))["message"]


@lru_cache
def shared_list(name):
    return []


def wsgi_leaking(environ, start_response):
    chain = shared_list("chain")
    chain.append(_message(environ))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [",".join(chain).encode()]


def wsgi_clean(environ, start_response):
    session = AgentSession()
    session.history.append(_message(environ))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [",".join(session.history).encode()]


# -- through a store, and other symptoms ---------------------------------------------------------------

database = os.path.join(tempfile.gettempdir(), f"stateguard-probe-{os.getpid()}.sqlite")


def _connected():
    connection = sqlite3.connect(database, timeout=5)
    connection.execute("CREATE TABLE IF NOT EXISTS turns (user TEXT, text TEXT)")
    return connection


@http
async def sqlite_leaking(scope, receive, send):
    """One conversation in the store for everybody."""
    message = await _read(receive)
    with contextlib.closing(_connected()) as connection, connection:
        connection.execute("INSERT INTO turns VALUES ('agent', ?)", (message,))
    await asyncio.sleep(0.002)
    with contextlib.closing(_connected()) as connection:
        rows = connection.execute("SELECT text FROM turns WHERE user = 'agent'").fetchall()
    await _reply(send, " | ".join(text for (text,) in rows))


@http
async def sqlite_clean(scope, receive, send):
    message = await _read(receive)
    with contextlib.closing(_connected()) as connection, connection:
        connection.execute("INSERT INTO turns VALUES (?, ?)", (message, message))
    await asyncio.sleep(0.002)
    with contextlib.closing(_connected()) as connection:
        rows = connection.execute("SELECT text FROM turns WHERE user = ?", (message,)).fetchall()
    await _reply(send, " | ".join(text for (text,) in rows))


redis_url = ""
"""Of the server that the redis twins keep their turns in."""


async def _through_redis(key, message):
    # A connection per request, as in a worker that has just begun: none is carried into a forked child.
    async with redis.asyncio.from_url(redis_url, decode_responses=True) as client:
        await client.rpush(key, message)
        await client.expire(key, 60)
        return await client.lrange(key, 0, -1)


@http
async def redis_leaking(scope, receive, send):
    """One conversation in the store for everybody."""
    await _reply(send, " | ".join(await _through_redis("turns:agent", await _read(receive))))


@http
async def redis_clean(scope, receive, send):
    message = await _read(receive)
    await _reply(send, " | ".join(await _through_redis(f"turns:{message}", message)))


def wsgi_redis_leaking(environ, start_response):
    return _wsgi_through_redis("turns:agent", _message(environ), start_response)


def wsgi_redis_clean(environ, start_response):
    message = _message(environ)
    return _wsgi_through_redis(f"turns:{message}", message, start_response)


def _wsgi_through_redis(key, message, start_response):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.rpush(key, message)
        client.expire(key, 60)
        turns = client.lrange(key, 0, -1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" | ".join(turns).encode()]


BASKET: list[str] = []


@http
async def cleared_leaking(scope, receive, send):
    """Each request clears the list when it begins; a second one's clearing lets the first see the second."""
    message = await _read(receive)
    BASKET.clear()
    await asyncio.sleep(0.002)
    BASKET.append(message)
    await asyncio.sleep(0.002)
    await _reply(send, f"you: {message}", f"basket: {BASKET}")


@http
async def cleared_clean(scope, receive, send):
    message = await _read(receive)
    basket: list[str] = []
    await asyncio.sleep(0.002)
    basket.append(message)
    await _reply(send, f"you: {message}", f"basket: {basket}")


def without_echo(app):
    """The same application, told to say nothing: what it does to shared state, nobody is shown."""

    async def silent(scope, receive, send):
        async def muted(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": []}
            elif message["type"] == "http.response.body":
                message = {**message, "body": b"."}
            elif message["type"] == "websocket.send":
                message = {**message, "text": "."}
            await send(message)

        await app(scope, receive, muted)

    def silent_wsgi(environ, start_response):
        def muted(status, headers):
            return start_response(status, [])

        return [b"." for _ in app(environ, muted)]

    return silent_wsgi if app.__name__.startswith("wsgi") else silent


def forget():
    """Every application as it was when the process began."""
    for state in (HISTORY, TOOL_RESULTS, LOCKED, SOCKETS, CACHE, BASKET):
        state.clear()
    LAST[0] = STREAM[0] = ""
    ANSWERED[0] = 0
    shared_list.cache_clear()
    with contextlib.suppress(FileNotFoundError):
        os.remove(database)
