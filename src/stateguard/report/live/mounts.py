"""The live page as an ASGI and as a WSGI application."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stateguard.report.live.site import LONGEST_FORM, Answer, Asked, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class ASGIDashboard:
    """Mount it where you like: ``app.mount("/stateguard", guard.dashboard(token=...))``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        form = await _form(receive) if scope["method"] == "POST" else b""
        answer = await _aside(partial(self._site.answer, _from_scope(scope, form)))
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})


async def _aside(work: Callable[[], Answer]) -> Answer:
    """On a worker thread, where there is an asyncio loop: reading files or Redis may take its time."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        found: Answer = await asyncio.get_running_loop().run_in_executor(None, work)
        return found
    return work()


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _form(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")[:LONGEST_FORM]
        if not message.get("more_body") or len(body) >= LONGEST_FORM:
            return body[:LONGEST_FORM]


def _from_scope(scope: Any, form: bytes) -> Asked:
    root = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    # Since ASGI 2.4 the path holds the mount point; older servers and frameworks leave it out.
    if root and path.startswith(root):
        path = path[len(root) :]
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    return Asked(
        method=scope["method"],
        path=path,
        root=quote(root),
        query=scope.get("query_string", b"").decode("latin-1"),
        authorization=headers.get(b"authorization", ""),
        cookies=headers.get(b"cookie", ""),
        secure=scope.get("scheme") == "https",
        form=form,
    )


class WSGIDashboard:
    """Mount it with a dispatcher: ``DispatcherMiddleware(app, {"/stateguard": guard.dashboard(...)})``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._site.answer(_from_environ(environ))
        start_response(f"{answer.status:d} {answer.status.phrase}", answer.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


def _from_environ(environ: dict[str, Any]) -> Asked:
    form = b""
    if environ["REQUEST_METHOD"] == "POST":
        length = environ.get("CONTENT_LENGTH") or "0"
        form = environ["wsgi.input"].read(min(int(length) if length.isdecimal() else 0, LONGEST_FORM))
    return Asked(
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", ""),
        root=quote(environ.get("SCRIPT_NAME", "").rstrip("/").encode("latin-1")),
        query=environ.get("QUERY_STRING", ""),
        authorization=environ.get("HTTP_AUTHORIZATION", ""),
        cookies=environ.get("HTTP_COOKIE", ""),
        secure=environ.get("wsgi.url_scheme") == "https",
        form=form,
    )
