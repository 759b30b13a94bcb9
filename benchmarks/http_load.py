"""A small HTTP client that is cheaper than the servers it measures.

One keep-alive connection sends the same request again as soon as the answer is complete. Nothing is parsed
beyond the status and the length, so one process can keep several Python servers busy.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass


class _Connection(asyncio.Protocol):
    """Sends ``request`` over and over until told to stop; counts the answers."""

    def __init__(self, request: bytes, closed: asyncio.Future[None]) -> None:
        self.request = request
        self.closed = closed
        self.answers = 0
        self.latencies: list[float] = []
        self._sent = 0.0
        self.running = True
        self.error: str | None = None
        self._received = bytearray()
        self._expected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._sent = time.perf_counter()
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._expected:
            self._expected = self._length()
        if self._expected and len(self._received) >= self._expected:
            self._received.clear()
            self._expected = 0
            self.answers += 1
            now = time.perf_counter()
            self.latencies.append(now - self._sent)
            self._sent = now
            if self.running:
                self.transport.write(self.request)
            else:
                self.transport.close()

    def _length(self) -> int:
        """The whole answer's length in bytes; 0 while the head is incomplete."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return 0
        head = bytes(self._received[:end]).lower()
        _, found, rest = head.partition(b"content-length:")
        if not head.startswith(b"http/1.1 200") or not found:
            self.error = head.partition(b"\r\n")[0].decode("latin-1")
            self.transport.close()
            return 0
        return end + 4 + int(rest.partition(b"\r\n")[0])

    def connection_lost(self, exc: Exception | None) -> None:
        if self.running and self.error is None:
            self.error = f"the server closed the connection: {exc}"
        if not self.closed.done():
            self.closed.set_result(None)


@dataclass(frozen=True, slots=True)
class Load:
    """One round of load."""

    answers: int
    seconds: float
    total: int
    """Answers with those that do not count, of before and after."""
    latencies: list[float]
    """Seconds from the sending of each request to the end of its answer, sorted."""

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the requests was answered."""
        return self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]


async def load(
    port: int, path: str, body: bytes, *, seconds: float, connections: int, settle: float = 0.0
) -> Load:
    """Post ``body``, which is JSON, to 127.0.0.1 over ``connections`` connections, for ``settle`` seconds
    that do not count and ``seconds`` that do.

    Raises ``RuntimeError`` at an answer other than 200.
    """
    loop = asyncio.get_running_loop()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    running: list[_Connection] = []
    for _ in range(connections):
        closed = loop.create_future()
        _, protocol = await loop.create_connection(
            lambda closed=closed: _Connection(request, closed), "127.0.0.1", port
        )
        running.append(protocol)
    await asyncio.sleep(settle)
    before = [each.answers for each in running]
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    after = [each.answers for each in running]
    elapsed = time.perf_counter() - started
    for connection in running:
        connection.running = False
    await asyncio.wait_for(asyncio.gather(*(connection.closed for connection in running)), 30)
    for connection in running:
        if connection.error is not None:
            raise RuntimeError(f"{path}: {connection.error}")
    counted = [each.latencies[begin:end] for each, begin, end in zip(running, before, after, strict=True)]
    return Load(
        sum(after) - sum(before),
        elapsed,
        sum(each.answers for each in running),
        sorted(latency for latencies in counted for latency in latencies),
    )
