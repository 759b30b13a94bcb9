"""Applications that make a probe's life hard."""

from __future__ import annotations

import asyncio
import base64
import gzip
import html
import os
import sys
import threading
import time
import zlib
from urllib.parse import quote

from tests.probe.apps import _read, _reply, http

SEEN: list[str] = []


@http
async def never_answers(scope, receive, send):
    await asyncio.Event().wait()


@http
async def never_ends(scope, receive, send):
    await _reply(send, await _read(receive))
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            continue


@http
async def waits_for_the_disconnect(scope, receive, send):
    await _reply(send, await _read(receive))
    assert (await receive())["type"] == "http.disconnect"


@http
async def spins(scope, receive, send):
    while True:
        await asyncio.sleep(0)


@http
async def ends_the_process(scope, receive, send):
    os._exit(3)


@http
async def raises_system_exit(scope, receive, send):
    sys.exit(3)


@http
async def endless_stream(scope, receive, send):
    SEEN.append(await _read(receive))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": " ".join(SEEN[-3:]).encode(), "more_body": True})
        await asyncio.sleep(1)


@http
async def huge(scope, receive, send):
    message = await _read(receive)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message.encode(), "more_body": True})
    for _ in range(10):
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@http
async def redirects(scope, receive, send):
    SEEN.append(await _read(receive))
    await _reply(send, "", status=302, headers=[(b"location", b"/next?from=" + SEEN[0].encode())])


@http
async def echoes_headers(scope, receive, send):
    message = await _read(receive)
    echoed = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"content-type")]
    await _reply(send, f"{scope['headers']} {message}", headers=echoed)


@http
async def leaks_from_a_task(scope, receive, send):
    message = await _read(receive)

    async def later():
        await asyncio.sleep(1)
        SEEN.append(message)
        await asyncio.sleep(3600)

    asyncio.create_task(later())
    await asyncio.sleep(2)
    await _reply(send, message, " ".join(SEEN))


@http
async def uses_executors(scope, receive, send):
    message = await _read(receive)
    text = await asyncio.get_running_loop().run_in_executor(None, lambda: f"{message}!")
    await _reply(send, text + await asyncio.to_thread(lambda: "?"))


@http
async def uses_its_own_thread(scope, receive, send):
    message, loop = await _read(receive), asyncio.get_running_loop()
    future = loop.create_future()

    def answer():
        threading.Event().wait(0.01)
        loop.call_soon_threadsafe(future.set_result, message)

    threading.Thread(target=answer).start()
    await _reply(send, await future)


@http
async def sleeps_in_the_loop(scope, receive, send):
    message = await _read(receive)
    time.sleep(5)
    await _reply(send, message)


@http
async def has_a_deadline(scope, receive, send):
    message = await _read(receive)
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(1)
    except TimeoutError:
        await _reply(send, message)


@http
async def prints(scope, receive, send):
    print("x" * 100_000)
    print("y" * 100_000, file=sys.stderr)
    await _reply(send, await _read(receive))


async def fails_to_start(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback\nno database"})


async def hangs_at_start(scope, receive, send):
    await asyncio.Event().wait()


async def starts_slowly(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await asyncio.sleep(2)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("fails to stop")
    await _reply(send, await _read(receive))


def _encoding(encode, *headers):
    @http
    async def app(scope, receive, send):
        SEEN.append(await _read(receive))
        body = encode(" ".join(SEEN[-3:]))
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body if isinstance(body, bytes) else body.encode()})

    return app


ENCODED = {
    "gzip": _encoding(lambda text: gzip.compress(text.encode()), (b"content-encoding", b"gzip")),
    "deflate": _encoding(lambda text: zlib.compress(text.encode()), (b"Content-Encoding", b"deflate")),
    "base64": _encoding(lambda text: base64.b64encode(text.encode())),
    "url": _encoding(quote),
    "html": _encoding(lambda text: html.escape(f"<{text}>")),
    "upper": _encoding(str.upper),
    "hexadecimal": _encoding(lambda text: text.encode().hex()),
    "cut": _encoding(lambda text: " ".join(word[:19] for word in text.split())),
}


def wsgi_lazy(environ, start_response):
    """Says its status only when its body is asked for."""

    def body():
        start_response("200 OK", [])
        yield b""
        yield environ["wsgi.input"].read()

    return body()


def wsgi_exits(environ, start_response):
    sys.exit(1)


@http
async def says_nothing(scope, receive, send):
    pass


def wsgi_says_nothing(environ, start_response):
    return [environ["wsgi.input"].read()]


@http
async def cancels_everything(scope, receive, send):
    for task in asyncio.all_tasks():
        task.cancel()


@http
async def stops_the_loop(scope, receive, send):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    await _reply(send, await _read(receive))


def quits():
    """An application factory that ends the process, as if all were well."""
    sys.exit(0)
