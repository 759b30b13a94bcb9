"""What the built package must do in an environment that has nothing else: catch one leak per protocol."""

import asyncio
import sys
import types
from importlib import metadata

import stateguard
from stateguard import Guard, Leak
from stateguard.asgi import StateGuardMiddleware as ASGIGuard
from stateguard.short import COMPILED
from stateguard.watch import compare
from stateguard.wsgi import StateGuardMiddleware as WSGIGuard

shop = types.ModuleType("shop")
shop.HISTORY = []
sys.modules["shop"] = shop
found: list[Leak] = []


async def asgi_app(scope, receive, send):
    """Write shared state, say hello."""
    shop.HISTORY.append("asgi")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def wsgi_app(environ, start_response):
    """Write shared state, say hello."""
    shop.HISTORY.append("wsgi")
    start_response("200 OK", [])
    return [b"hello"]


async def call_asgi() -> list[dict]:
    """One request through the guarded ASGI application; what it sent."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await ASGIGuard(asgi_app, guard=guard)(scope, receive, send)
    return sent


guard = Guard(watch=["shop"], on_leak=found.append)
assert asyncio.run(call_asgi())[1]["body"] == b"hello"
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}
assert list(WSGIGuard(wsgi_app, guard=guard)(environ, lambda *_: None)) == [b"hello"]
assert [leak.path for leak in guard.leaks] == ["shop.HISTORY", "shop.HISTORY"], guard.leaks
assert [leak.confidence for leak in guard.leaks] == ["exact", "exact"], guard.leaks
assert "site-packages" in stateguard.__file__, stateguard.__file__
foreign = sorted(
    name
    for name, module in sys.modules.items()
    if "site-packages" in (getattr(module, "__file__", None) or "")
    and name.partition(".")[0] not in ("stateguard", "_distutils_hack")
)
assert not foreign, f"a bare import pulls in {foreign}"
wheel = metadata.distribution("stateguard-middleware").read_text("WHEEL") or ""
assert ("Root-Is-Purelib: false" in wheel) == COMPILED == compare.COMPILED, (
    f"COMPILED is {COMPILED}, and it was installed from\n{wheel}"
)
how = "with its compiled parts" if COMPILED else "in pure Python"
print(f"   stateguard {stateguard.__version__} catches a leak through ASGI and through WSGI, {how}")
