"""Where requests go: a service over HTTP, or an ASGI or WSGI application in this process."""

from __future__ import annotations

import asyncio
import inspect
import io
import ipaddress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from stateguard.errors import ConfigError, StateGuardError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateguard.probe.requests import Template

IDLE = 0.5
"""Seconds without a websocket message after which the conversation is over."""

LARGEST = 2_000_000
"""Bytes of one answer that are read."""


@dataclass
class Answer:
    """What came back. ``error`` is set when nothing did, or not all of it."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    messages: list[bytes] = field(default_factory=list)
    error: str = ""

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Everything in which a canary can be, with its name."""
        for name, value in self.headers:
            cookie = name == "set-cookie"
            label = f"cookie {value.partition('=')[0]}" if cookie else f"header {name}"
            yield label, value.encode("latin-1", "replace")
        # The whole body at once: a canary may be cut in two by the chunks of a stream.
        yield "body", bytes(self.body)
        for number, message in enumerate(self.messages):
            yield f"message {number}", message

    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        found = {}
        for name, value in self.headers:
            if name == "set-cookie":
                try:
                    found.update({key: morsel.coded_value for key, morsel in SimpleCookie(value).items()})
                except CookieError:
                    continue
        return found


class Target(Protocol):
    """Anything that answers requests."""

    async def start(self) -> None:
        """Get ready."""

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer to one request, or what of it came within ``seconds``."""

    async def stop(self) -> None:
        """Let go of everything."""


def is_loopback(host: str) -> bool:
    """Whether requests to ``host`` stay on this machine, without asking a name server."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HTTPTarget:
    """A running service, in any language. Redirects are answers like any other; no proxy is used."""

    def __init__(self, url: str, allowed_host: str | None = None) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{url!r} is no http:// or https:// address")
        if not is_loopback(host) and host != allowed_host:
            raise ConfigError(
                f"{host} is not this machine. The probe sends load only where it is meant to go: "
                f"repeat the name with --allow-host {host}, and only if the service is yours to test"
            )
        self._url = url.rstrip("/")
        self._client: Any = None

    async def start(self) -> None:
        """Open the client. Raises :class:`~stateguard.errors.StateGuardError` where httpx is missing."""
        try:
            import httpx
        except ModuleNotFoundError:
            raise StateGuardError(
                "probing a service needs httpx: pip install 'stateguard-middleware[probe]'"
            ) from None
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        # A jar that keeps nothing: one shared by all users would itself carry data from one to another.
        jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(trust_env=False, limits=limits, timeout=None, cookies=jar)

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer; a stream is read until it ends or the time is over."""
        answer = Answer()
        try:
            async with asyncio.timeout(seconds):
                if request.method == "WS":
                    await self._converse(request, headers, answer)
                else:
                    await self._exchange(request, headers, answer)
        except TimeoutError:
            if not answer.body:
                answer.error = f"no answer within {seconds:g} seconds"
        except Exception as error:
            answer.error = f"{type(error).__name__}: {error}"
        return answer

    async def _exchange(self, request: Template, headers: list[tuple[str, str]], answer: Answer) -> None:
        stream = self._client.stream(
            request.method, self._url + request.path, headers=headers, content=request.body.encode()
        )
        async with stream as response:
            answer.status = response.status_code
            answer.headers = [(name.lower(), value) for name, value in response.headers.multi_items()]
            async for chunk in response.aiter_bytes():
                answer.body += chunk
                if len(answer.body) > LARGEST:
                    return

    async def _converse(self, request: Template, headers: list[tuple[str, str]], answer: Answer) -> None:
        from websockets.asyncio.client import connect

        address = "ws" + self._url.removeprefix("http") + request.path
        async with connect(address, additional_headers=headers, proxy=None) as socket:
            answer.status = 101
            await socket.send(request.body)
            try:
                while len(answer.messages) < 1000:
                    message = await asyncio.wait_for(socket.recv(), IDLE)
                    answer.messages.append(message.encode() if isinstance(message, str) else message)
            except TimeoutError:
                return
            except Exception as error:
                if type(error).__name__ not in ("ConnectionClosedOK", "ConnectionClosedError"):
                    raise

    async def stop(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()


class ASGITarget:
    """An ASGI application in this process; its lifespan runs around the probe."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lifespan: asyncio.Task[Any] | None = None
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._state: dict[str, Any] = {}

    async def start(self) -> None:
        """Run the start-up. Raises :class:`~stateguard.errors.StateGuardError` when it fails."""
        done = asyncio.Event()
        failure = []

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.failed":
                failure.append(message.get("message", ""))
            done.set()

        async def run() -> None:
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
            try:
                await self._app(scope, self._messages.get, send)
            except Exception:
                pass  # an application without lifespan support says so by raising
            finally:
                done.set()

        await self._messages.put({"type": "lifespan.startup"})
        self._lifespan = asyncio.create_task(run())
        await done.wait()
        if failure:
            raise StateGuardError(f"the application failed to start: {failure[0]}")

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer; a stream is read until it ends or the time is over."""
        answer = Answer()
        try:
            async with asyncio.timeout(seconds):
                # A task of its own, as under a server: context variables must not reach the next request.
                await asyncio.create_task(self._serve(request, headers, answer))
        except TimeoutError:
            if not answer.body and not answer.messages:
                answer.error = f"no answer within {seconds:g} seconds"
        except Exception as error:
            if not answer.status:
                answer.status = 500  # what a server makes of it
            answer.error = f"{type(error).__name__}: {error}"
        return answer

    async def _serve(self, request: Template, headers: list[tuple[str, str]], answer: Answer) -> None:
        websocket = request.method == "WS"
        path, _, query = request.path.partition("?")
        body = request.body.encode()
        scope: dict[str, Any] = {
            "type": "websocket" if websocket else "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws" if websocket else "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"probe.localhost"), *((n.encode(), v.encode()) for n, v in headers)],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": dict(self._state),
        }
        if websocket:
            scope["subprotocols"] = []
            incoming: list[dict[str, Any]] = [
                {"type": "websocket.connect"},
                {"type": "websocket.receive", "text": request.body},
            ]
        else:
            scope["method"] = request.method
            scope["headers"].append((b"content-length", str(len(body)).encode()))
            incoming = [{"type": "http.request", "body": body, "more_body": False}]
        over = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop(0)
            if websocket:
                await asyncio.sleep(IDLE)
                return {"type": "websocket.disconnect", "code": 1000}
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                answer.status = message["status"]
                for name, value in message.get("headers", ()):
                    answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
            elif kind == "http.response.body":
                if len(answer.body) < LARGEST:
                    answer.body += message.get("body", b"")
                if not message.get("more_body"):
                    over.set()
            elif kind == "websocket.accept":
                answer.status = 101
            elif kind == "websocket.send":
                text = message.get("text")
                answer.messages.append(text.encode() if text is not None else message.get("bytes") or b"")
            elif kind == "websocket.close" and not answer.status:
                answer.status = 403

        await self._app(scope, receive, send)

    async def stop(self) -> None:
        """Run the shut-down."""
        if self._lifespan is not None:
            await self._messages.put({"type": "lifespan.shutdown"})
            done, _ = await asyncio.wait([self._lifespan], timeout=5)
            if not done:
                self._lifespan.cancel()


class WSGITarget:
    """A WSGI application in this process, each request on a thread."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def start(self) -> None:
        """Nothing to do."""

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer."""
        if request.method == "WS":
            return Answer(error="a WSGI application has no websockets")
        answer = Answer()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(self._call, request, headers, answer)
        except TimeoutError:
            if not answer.body:
                answer.error = f"no answer within {seconds:g} seconds"
        except Exception as error:
            answer.status = answer.status or 500
            answer.error = f"{type(error).__name__}: {error}"
        return answer

    def _call(self, request: Template, headers: list[tuple[str, str]], answer: Answer) -> None:
        path, _, query = request.path.partition("?")
        body = request.body.encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "probe.localhost",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value

        def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
            answer.status = int(status.split(maxsplit=1)[0])
            answer.headers = [(name.lower(), value) for name, value in fields]
            return answer.body.extend

        pieces = self._app(environ, start_response)
        try:
            for piece in pieces:
                answer.body += piece
                if len(answer.body) > LARGEST:
                    break
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()

    async def stop(self) -> None:
        """Nothing to do."""


def app_target(app: Any, protocol: str | None = None) -> ASGITarget | WSGITarget:
    """The target for an application; ``protocol`` is ``"asgi"``, ``"wsgi"`` or told by how it is called."""
    return WSGITarget(app) if (protocol or protocol_of(app)) == "wsgi" else ASGITarget(app)


def protocol_of(app: Any) -> str:
    """``asgi`` or ``wsgi``: ASGI applications take three arguments, or are coroutine functions."""
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(vars(type(app)).get("__call__")):
        return "asgi"
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return "wsgi"
    return "asgi" if sum(p.default is inspect.Parameter.empty for p in parameters) == 3 else "wsgi"
