"""Threads that wait for their turn before every line of the application."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stateguard.attribution.settrace import tracer as guards_tracer
from stateguard.probe.scheduler import actor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from stateguard.probe.scheduler import Actor, Scheduler

_cpu_clock_of = getattr(time, "pthread_getcpuclockid", None)

_LOOPED = 1000
"""Line events on one and the same line that count as one more visit."""

_workers = threading.local()


class Worker:
    """A function on its way to a thread: traced there, and held at each line of the application."""

    shares_trace = True
    """The guard's tracer is told of what happens: see :meth:`SettraceTracer.relay`."""

    def __init__(self, function: Callable[..., Any], actor: Actor, scheduler: Scheduler) -> None:
        self._function = function
        self.actor = actor
        self._scheduler = scheduler
        self.go = threading.Semaphore(0)
        self.blocked = False
        self._clock: int | None = None
        self._used = -1
        self._stat = ""
        self._last: tuple[str, int] | None = None
        self._same = 0
        self._outer: Worker | None = None
        actor.handed += 1

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function, on the thread that was found for it."""
        self._outer = getattr(_workers, "current", None)
        if self._scheduler.free or self._outer is not None:
            return self._function(*args, **kwargs)
        if _cpu_clock_of is not None:
            self._clock = _cpu_clock_of(threading.get_ident())
        self._stat = f"/proc/self/task/{threading.get_native_id()}/stat"
        _workers.current = self
        token = actor_of.set(self.actor)
        before = sys.gettrace()
        self._park()
        sys.settrace(self._call)
        try:
            return self._function(*args, **kwargs)
        finally:
            sys.settrace(before)
            actor_of.reset(token)
            _workers.current = None
            self._scheduler.events.put((self, "done"))
            self._wake()

    def delivered(self) -> None:
        """The result is where it was waited for."""
        self.actor.handed -= 1

    def _park(self) -> None:
        self._scheduler.events.put((self, "parked"))
        if self._scheduler.holder is not self:
            self._wake()
        self.go.acquire()

    def _wake(self) -> None:
        loop = self._scheduler.loop
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(_nothing)
            except RuntimeError:
                return

    def asleep(self) -> bool:
        """Whether the thread waits in the kernel and has used no processor time since asked last."""
        try:
            with open(self._stat, "rb") as file:
                waiting = file.read().rpartition(b")")[2].split()[0] in b"SD"
        except OSError:
            waiting = True
        if self._clock is None:
            time.sleep(0.05)
            return waiting
        try:
            used = time.clock_gettime_ns(self._clock)
        except OSError:
            return True
        idle, self._used = used == self._used, used
        return waiting and idle

    # -- lines -----------------------------------------------------------------------------------

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        guard = guards_tracer.relay(frame, event)
        return self._line if guard or self._scheduler.places.ours(frame.f_code) else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        guards_tracer.relay(frame, event)
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            self._same = self._same + 1 if line == self._last else 0
            # A comprehension is a frame of its own before Python 3.12: a line counts once while it lasts.
            if self._same % _LOOPED == 0 and self._scheduler.places.ours(frame.f_code):
                self._last = line
                if not self._scheduler.at_line(
                    self, self._scheduler.places.name(frame.f_code, frame.f_lineno)
                ):
                    self._park()
        return self._line


def _nothing() -> None:
    """Wakes up the loop."""


def anyio_backend() -> Any:
    """Where anyio hands work to its threads. It imports that itself at its first use: too late for us."""
    return import_module("anyio._backends._asyncio") if "anyio" in sys.modules else None


@contextmanager
def holding_threads(scheduler: Scheduler) -> Iterator[None]:
    """Hold what requests give to executors and to anyio's threads; make ``time.sleep`` take no time there."""
    undo: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, new: Any) -> None:
        undo.append((owner, name, vars(owner)[name]))
        setattr(owner, name, new)

    def held(function: Callable[..., Any]) -> Any:
        actor = actor_of.get()
        if actor is None or scheduler.free or actor.user not in scheduler.actors:
            return None
        return Worker(function, actor, scheduler)

    submit: Any = ThreadPoolExecutor.submit

    @wraps(submit)
    def submit_held(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        worker = held(fn)
        if worker is None:
            return submit(self, fn, *args, **kwargs)
        future = submit(self, worker, *args, **kwargs)
        future.add_done_callback(lambda _: worker.delivered())
        return future

    replace(ThreadPoolExecutor, "submit", submit_held)
    backend = anyio_backend()
    if backend is not None:
        owner = backend.AsyncIOBackend
        run = vars(owner)["run_sync_in_worker_thread"].__func__

        @wraps(run)
        async def run_held(cls: type, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            worker = held(func)
            if worker is None:
                return await run(cls, func, *args, **kwargs)
            try:
                return await run(cls, worker, *args, **kwargs)
            finally:
                worker.delivered()

        replace(owner, "run_sync_in_worker_thread", classmethod(run_held))

    sleep = time.sleep

    def sleep_virtually(seconds: float) -> None:
        worker = getattr(_workers, "current", None)
        if worker is not None and not scheduler.free:
            sleep(min(seconds, 0.0005))  # somebody who polls must not burn the processor
        elif actor_of.get() is None or threading.get_ident() != loop_thread:
            sleep(seconds)

    loop_thread = threading.get_ident()
    replace(time, "sleep", sleep_virtually)
    try:
        yield
    finally:
        for owner, name, original in reversed(undo):
            setattr(owner, name, original)
