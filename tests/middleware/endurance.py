"""Serve many guarded requests in this process and print its size on the way.

``python -m tests.middleware.endurance asgi|wsgi REQUESTS LOCATE BUDGET``, the last two as for ``Guard``.
Every twentieth request leaks into shared state that the application keeps bounded itself; every fifth
makes a class and a closure of its own, as some frameworks do.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import types
from wsgiref.util import setup_testing_defaults

from stateguard import Guard, session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard

SOURCE = """
from collections import deque

HISTORY = deque(maxlen=50)
TABLE = {}
LAST = None
HANDLERS = {}

def closure_of(instance):
    return lambda extra: (instance.values, extra)

def handle(number):
    global LAST
    if number % 5 and LAST is not None:
        return closure_of(LAST)(number)
    class made:
        items = []
    instance = made()
    instance.values = [number]
    def closure(extra):
        return instance.values, extra
    if number % 20 == 0:
        HISTORY.append({"content": f"message {number}", "by": instance})
        LAST = instance
        TABLE[f"user{number % 300}"] = [closure, made]
        HANDLERS[f"handler{number % 140}"] = closure
        setattr(made, f"name{number % 50}", number)
        globals()[f"made_up_{number % 4000}"] = instance
        globals().pop(f"made_up_{(number - 200) % 4000}", None)
    return closure(number)
"""


def module():
    made = types.ModuleType("endurance_state")
    sys.modules["endurance_state"] = made
    exec(compile(SOURCE, "endurance_state.py", "exec"), vars(made))
    return made


def resident() -> int:
    """Bytes of memory of this process that are in use."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def serve_wsgi(guard, state, marks):
    def app(environ, start_response):
        session()
        state.handle(environ["number"])
        start_response("200 OK", [])
        return [b"ok"] if environ["number"] % 2 else iter([b"o", b"k"])

    wrapped = WsgiGuard(app, guard=guard)
    sizes = {}
    for number in range(1, max(marks) + 1):
        environ = {"number": number, "HTTP_COOKIE": f"session=token{number}"}
        setup_testing_defaults(environ)
        body = wrapped(environ, lambda *args: None)
        assert b"".join(body) == b"ok"
        if hasattr(body, "close"):
            body.close()
        if number in marks:
            sizes[number] = resident()
    return sizes


async def serve_asgi(guard, state, marks):
    async def late(number):
        await asyncio.sleep(0)
        session()

    async def app(scope, receive, send):
        session()
        await receive()
        state.handle(scope["number"])
        if scope["number"] % 5 == 0:
            await asyncio.create_task(late(scope["number"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive():
        return {"type": "http.request", "body": b"hello there", "more_body": False}

    async def send(message):
        await asyncio.sleep(0)

    async def one(number):
        headers = [(b"cookie", f"session=token{number}".encode())]
        await wrapped(
            {"type": "http", "method": "GET", "path": f"/{number}", "headers": headers, "number": number},
            receive,
            send,
        )

    wrapped = AsgiGuard(app, guard=guard)
    sizes = {}
    number = 0
    while number < max(marks):
        await asyncio.gather(*(one(number + n) for n in range(1, 11)))
        number += 10
        if number in marks:
            sizes[number] = resident()
    return sizes


def main() -> None:
    protocol, requests = sys.argv[1], int(sys.argv[2])
    logging.disable(logging.CRITICAL)
    state = module()
    guard = Guard(watch=["endurance_state"], on_leak="log", locate=sys.argv[3], budget=float(sys.argv[4]))
    marks = {1000, 5000, requests}
    if protocol == "asgi":
        sizes = asyncio.run(serve_asgi(guard, state, marks))
    else:
        sizes = serve_wsgi(guard, state, marks)
    engine = guard.engine
    print(
        json.dumps(
            {
                "sizes": sizes,
                "leaks": sum(guard.counts.values()),
                "watching": guard.watcher is not None,
                "failures": dict(engine.failures),
                "gait": engine.pace.gait,
                "distinct": len(guard.counts),
            }
        )
    )


if __name__ == "__main__":
    main()
