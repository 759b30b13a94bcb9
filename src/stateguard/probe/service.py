"""A running service: requests over HTTP and websockets, in any language, on this machine."""

from __future__ import annotations

import asyncio
import ipaddress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stateguard.errors import ConfigError, StateGuardError
from stateguard.probe.answer import Answer
from stateguard.probe.inprocess import IDLE

if TYPE_CHECKING:
    from stateguard.probe.requests import Template


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
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigError(f"{url!r} is no address: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{url!r} is no http:// or https:// address")
        if not is_loopback(host) and host != allowed_host:
            raise ConfigError(
                f"{host} is not this machine. The probe sends load only where it is meant to go: "
                f"repeat the name with --allow-host {host}, and only if the service is yours to test"
            )
        self._url = parts.geturl().rstrip("/")  # its scheme in lower case
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
        encodings = {"accept-encoding": "gzip, deflate"}  # those that can always be read
        self._client = httpx.AsyncClient(
            trust_env=False, limits=limits, timeout=None, cookies=jar, headers=encodings
        )

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
            if not answer.body and not answer.messages:
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
            events = response.headers.get("content-type", "").startswith("text/event-stream")
            chunks = response.aiter_raw()  # as it came: an Answer unpacks within bounds
            while not answer.full:
                try:
                    # A stream of events has no end: it has been heard when nothing more comes.
                    async with asyncio.timeout(IDLE if events and answer.body else None):
                        answer.body += await anext(chunks)
                except (StopAsyncIteration, TimeoutError):
                    return

    async def _converse(self, request: Template, headers: list[tuple[str, str]], answer: Answer) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed

        address = "ws" + self._url.removeprefix("http") + request.path
        async with connect(address, additional_headers=headers, proxy=None) as socket:
            answer.status = 101
            try:
                for text in request.texts:
                    await socket.send(text)
                    await _hear(socket, answer)
            except ConnectionClosed:
                return

    async def stop(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()

    def schema(self) -> dict[str, Any]:
        """The service's own OpenAPI schema. Raises :class:`~stateguard.errors.ConfigError` if it has none."""
        import httpx

        try:
            answer = httpx.get(self._url + "/openapi.json", trust_env=False, timeout=10.0)
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ConfigError(f"{self._url}/openapi.json holds no schema: {error}") from error
        if not isinstance(found, dict) or not answer.is_success:
            raise ConfigError(f"{self._url}/openapi.json holds no schema (status {answer.status_code})")
        return found


async def _hear(socket: Any, answer: Answer) -> None:
    """Everything that comes until nothing has come for a while."""
    while not answer.full:
        try:
            async with asyncio.timeout(IDLE):
                message = await socket.recv()
        except TimeoutError:
            return
        answer.messages.append(message.encode() if isinstance(message, str) else message)
