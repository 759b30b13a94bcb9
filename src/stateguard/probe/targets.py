"""Where plain load goes: a running service, or an application in this process without a scheduler."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from stateguard.probe.answer import Answer
from stateguard.probe.inprocess import Lifespan, protocol_of, serve_asgi, serve_wsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from stateguard.probe.requests import Template

GRACE = 1.0
"""Seconds that an application has to notice that its client has gone."""


class Target(Protocol):
    """Anything that answers requests."""

    async def start(self) -> None:
        """Get ready."""

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer to one request, or what of it came within ``seconds``."""

    async def stop(self) -> None:
        """Let go of everything."""


class ASGITarget:
    """An ASGI application in this process; its lifespan runs around the probe."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def start(self) -> None:
        """Run the start-up. Raises :class:`~stateguard.errors.StateGuardError` when it fails."""
        self._lifespan = Lifespan(self._app)
        await self._lifespan.start()

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer; a stream is read until it ends or the time is over."""
        answer, leave = Answer(), asyncio.Event()
        # A task of its own, as under a server: context variables must not reach the next request.
        served = serve_asgi(self._app, request, headers, answer, self._lifespan.state, leave)
        await finish(asyncio.create_task(served), answer, seconds, leave)
        return answer

    async def stop(self) -> None:
        """Run the shut-down."""
        await self._lifespan.stop()


class WSGITarget:
    """A WSGI application in this process, each request on a thread."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._threads = ServerThreads()

    async def start(self) -> None:
        """Nothing to do."""

    async def send(self, request: Template, headers: list[tuple[str, str]], seconds: float) -> Answer:
        """The answer."""
        if request.method == "WS":
            return Answer(error="a WSGI application has no websockets")
        answer = Answer()
        served = self._threads.run(lambda: serve_wsgi(self._app, request, headers, answer))
        await finish(served, answer, seconds)
        return answer

    async def stop(self) -> None:
        """Let the threads end."""
        self._threads.stop()


class ServerThreads:
    """Threads as a WSGI server has them: one that is done serves the next request, with what is left on it.

    They do not keep the process alive if the application never ends.
    """

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[tuple[Callable[[], Any], asyncio.Future[None]] | None]] = []

    def run(self, work: Callable[[], Any]) -> asyncio.Future[None]:
        """Do ``work`` on the thread that was idle last, or on a new one."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._idle:
            jobs = self._idle.pop()
        else:
            jobs = SimpleQueue()
            threading.Thread(target=self._serve, args=(jobs,), daemon=True).start()
        jobs.put((work, future))
        return future

    def _serve(self, jobs: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[None]] | None]) -> None:
        while (job := jobs.get()) is not None:
            work, future = job
            error: Exception | None = None
            try:
                work()
            except Exception as caught:
                error = caught
            except BaseException as caught:
                error = RuntimeError(f"the application raised {type(caught).__name__}")

            def settle(future: asyncio.Future[None] = future, error: Exception | None = error) -> None:
                self._idle.append(jobs)
                if not future.done():
                    if error is None:
                        future.set_result(None)
                    else:
                        future.set_exception(error)

            try:
                future.get_loop().call_soon_threadsafe(settle)
            except RuntimeError:  # the loop has been closed meanwhile
                return

    def stop(self) -> None:
        """Let the idle ones end."""
        while self._idle:
            self._idle.pop().put(None)


async def finish(
    served: asyncio.Future[Any],
    answer: Answer,
    seconds: float,
    leave: asyncio.Event | None = None,
    begun: Coroutine[Any, Any, object] | None = None,
    patience: float = 0.0,
) -> None:
    """Wait for the application, then leave, then insist, then give up; note in ``answer`` what went wrong.

    ``patience`` is how long the answer may take to begin, which ``begun`` waits for; ``seconds`` are counted
    from then on.
    """
    within, left = seconds, seconds
    if begun is not None:
        first = asyncio.ensure_future(begun)
        some, _ = await asyncio.wait([served, first], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not some:
            within, left = patience, 0.0
        first.cancel()
    done, _ = await asyncio.wait([served], timeout=left)
    if not done:
        if not answer.body and not answer.messages:
            answer.error = f"no answer within {within:g} seconds"
        if leave is not None:
            leave.set()
            done, _ = await asyncio.wait([served], timeout=GRACE)
        if not done:
            served.cancel()
            done, _ = await asyncio.wait([served], timeout=GRACE)
        if not done:
            answer.error = answer.error or "it does not end when its client has gone"
    for each in done:
        error = None if each.cancelled() else each.exception()
        if error is not None:
            answer.error = answer.error or f"{type(error).__name__}: {error}"
        elif not answer.status:
            answer.error = answer.error or "the application has ended without an answer"
        if answer.error:
            answer.status = answer.status or 500  # what a server makes of it


def app_target(app: Any, protocol: str | None = None) -> ASGITarget | WSGITarget:
    """The target for an application; ``protocol`` is ``"asgi"``, ``"wsgi"`` or told by how it is called."""
    return WSGITarget(app) if (protocol or protocol_of(app)) == "wsgi" else ASGITarget(app)
