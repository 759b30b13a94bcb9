"""Guard an application in another interpreter of one process: a program of its own."""

from __future__ import annotations

import os
import sys

SERVED = """
import asyncio, io, sys, threading, types
from stateguard import Guard, session
from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard

module = types.ModuleType("inner_app")
module.HISTORY = []
sys.modules["inner_app"] = module

async def asgi(scope, receive, send):
    module.HISTORY.append(id(session()))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def wsgi(environ, start_response):
    module.HISTORY.append(id(session()))
    start_response("200 OK", [])
    return [b"ok"]

guard = Guard(watch=["inner_app"], budget=1, on_leak=lambda leak: None)

async def main():
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        pass
    scope = {"type": "http", "method": "GET", "path": "/asgi", "headers": [], "query_string": b""}
    for _ in range(3):
        await AsgiGuard(asgi, guard=guard)(scope, receive, send)

def serve():
    for _ in range(3):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/wsgi", "wsgi.input": io.BytesIO()}
        list(WsgiGuard(wsgi, guard=guard)(environ, lambda *args: None))

asyncio.run(main())
thread = threading.Thread(target=serve)
thread.start()
thread.join()
told = [(leak.request and leak.request.path, leak.confidence) for leak in guard.leaks]
assert told[:3] == [("/asgi", "exact")] * 3, told
assert len(told) == 6 and {path for path, _ in told[3:]} <= {"/wsgi", None}, told
assert guard.engine.failures == {}, guard.engine.failures
guard.close()
"""


def run_in_another(code: str) -> None:
    """Run ``code`` in an interpreter of its own, which stays; raises if it fails there.

    CPython 3.12 and 3.13 do not always survive that one is destroyed which has had threads, nor that one with
    a lock of its own has them.
    """
    if sys.version_info >= (3, 13):
        import _interpreters

        failed = _interpreters.exec(_interpreters.create("legacy"), code)
        if failed is not None:
            raise RuntimeError(failed.formatted)
    else:
        import _xxsubinterpreters  # isolated ones have no threads here

        _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), code)


if __name__ == "__main__":
    run_in_another(SERVED)
    run_in_another(SERVED)
    print("guarded twice", flush=True)
    os._exit(0)  # see above
