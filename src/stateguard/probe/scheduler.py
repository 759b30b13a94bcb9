"""Who goes on: one user's work at a time, and at every point a decision."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from stateguard.probe.held import HeldCoroutine
from stateguard.probe.switches import BEGIN, Decision, Point

if TYPE_CHECKING:
    from stateguard.probe.places import Places
    from stateguard.probe.switches import Policy
    from stateguard.probe.virtual_loop import Events, Poll, VirtualLoop
    from stateguard.probe.workers import Worker

LONGEST = 20_000
"""Points after which a run is taken for endless."""

SPINS = 30
"""Times that one user may come by the same place before somebody else is let: it may be waiting for them."""

PATIENCE = 0.02
"""Seconds to wait for an answer from outside (a socket, a thread) before somebody else goes on."""

SETTLING = 0.0005
"""Seconds that a thread whose lock has been let go is given to come to its next line."""

OUTSIDE = 3.0
"""Seconds of real time that a run waits, in all, for something from outside while nobody can go on."""


@dataclass(eq=False)
class Actor:
    """The work of one user."""

    user: int
    gates: deque[asyncio.Future[None]] = field(default_factory=deque)
    """Its tasks that could go on, in the order in which they lined up."""
    parked: deque[Worker] = field(default_factory=deque)
    """Its threads that could go on."""
    coroutines: set[HeldCoroutine] = field(default_factory=set)
    turn: int = 0
    """Which of its requests it is at, counted from 1."""
    counts: dict[str, int] = field(default_factory=dict)
    """How often it has come by each place in that request."""
    point: Point = BEGIN
    fresh: bool = False
    """Whether it has reached a point that nothing has been decided about."""
    handed: int = 0
    """Functions given to threads that have not begun, or whose result has not been delivered."""
    spins: dict[str, int] = field(default_factory=dict)


actor_of: ContextVar[Actor | None] = ContextVar("stateguard_probe_actor", default=None)
"""For which user the running code works."""


class Scheduler:
    """Decides on the loop's thread whenever the loop is idle, and on a worker's thread at its lines."""

    def __init__(self, loop: VirtualLoop, places: Places, policy: Policy, users: list[int]) -> None:
        self.loop = loop
        self.places = places
        self.policy = policy
        self.actors = {user: Actor(user) for user in users}
        self.free = False
        """Whether nobody is held any more: the run is over."""
        self.endless = False
        self.points: list[Point] = []
        """Every point that was reached, in order."""
        self.switches: dict[Point, int] = {}
        """What was decided against the usual."""
        self.events: SimpleQueue[tuple[Worker, str]] = SimpleQueue()
        self.lock = threading.RLock()
        self.holder: Worker | None = None
        """The thread that is running; on the loop's thread, ``None``."""
        self.blocked = 0
        """Threads that wait for something else than their turn."""
        self._current: Actor | None = None
        self._next: Actor | None = None
        self._decided: dict[Point, int] = {}
        self._patience = PATIENCE
        self._waits_lost = 0
        self._real = OUTSIDE
        self._threads = threading.active_count()
        loop.on_idle(self._idle)
        loop.set_task_factory(self._make_task)

    def release(self) -> None:
        """Hold nobody any more."""
        self.free = True
        self.loop.on_idle(None)
        for actor in self.actors.values():
            while actor.gates:
                gate = actor.gates.popleft()
                if not gate.done():
                    gate.set_result(None)
            while actor.parked:
                actor.parked.popleft().go.release()

    def _make_task(self, loop: Any, coro: Any, **options: Any) -> Any:
        context = options.get("context")
        actor = actor_of.get() if context is None else context.get(actor_of)
        if actor is not None and not self.free:
            coro = HeldCoroutine(coro, actor, self)
            options.pop("eager_start", None)
        return asyncio.Task(coro, loop=loop, **options)

    def begin(self, actor: Actor) -> None:
        """The user is about to send its next request."""
        actor.turn += 1
        actor.counts.clear()
        self.reach(actor, "begin")

    # -- points ----------------------------------------------------------------------------------

    def reach(self, actor: Actor, place: str) -> None:
        """The user's work has come to a point."""
        nth = actor.counts[place] = actor.counts.get(place, 0) + 1
        actor.point = Point(actor.user, actor.turn, place, nth)
        actor.fresh = True
        actor.spins[place] = actor.spins.get(place, 0) + 1
        self.points.append(actor.point)
        if len(self.points) >= LONGEST and not self.endless:
            self.endless = True
            self.loop.call_soon_threadsafe(self.loop.stop)

    def suspended(self, actor: Actor, held: HeldCoroutine, coroutine: Any) -> None:
        """A step is over. It has come to a point if the application itself has gone on in it."""
        stands = self.places.standing(coroutine)
        if stands[1] is not held.stood[1] or stands[2] is not held.stood[2]:
            self.reach(actor, stands[0])
        held.stood = stands

    def at_line(self, worker: Worker, place: str) -> bool:
        """A thread is about to run a line. Whether it may go on at once; if not, it must park."""
        with self.lock:
            if self.free:
                return True
            if self.holder is not worker or self.endless:
                return False  # it was blocked, others have gone on: it must line up
            self.reach(worker.actor, place)
            self._settle()
            worker.actor.parked.appendleft(worker)
            chosen = self._decide(worker.actor)
            worker.actor.parked.remove(worker)
            if chosen is worker.actor:
                return True
            self._next = chosen
            return False  # back in the line with the event that it has parked

    # -- decisions -------------------------------------------------------------------------------

    def _wakes(self, actor: Actor) -> float | None:
        """When the earliest sleep of the user is over, if no deadline lies before it."""
        times = [at for held in actor.coroutines if (at := self.loop.wakes_at(held.awaits)) is not None]
        at = min(times, default=None)
        return at if at is not None and at <= self.loop.next_deadline() else None

    def _able(self, actor: Actor) -> bool:
        return bool(actor.gates or actor.parked) or self._wakes(actor) is not None

    def _decide(self, current: Actor | None) -> Actor | None:
        able = tuple(user for user, actor in self.actors.items() if self._able(actor))
        if not able:
            return None
        point = BEGIN if current is None else current.point
        halts = self._decided[point] = self._decided.get(point, -1) + 1
        if halts:  # it has come to a halt without having reached another point
            point = point._replace(place=f"{point.place}~{point.nth}", nth=halts)
        usual = min(able)
        if current is not None:
            current.fresh = False
            later = [user for user in able if user > current.user]
            others = later or [user for user in able if user != current.user]
            usual = current.user if current.user in able else others[0]
            if usual == current.user and others and max(current.spins.values(), default=0) > SPINS:
                usual = others[0]
        wanted = self.policy(Decision(point, able, usual))
        if wanted not in able and not self._comes(wanted):
            wanted = usual
        if wanted != usual:
            self.switches[point] = wanted
        chosen = self.actors[wanted]
        chosen.fresh = False
        if chosen is not current:
            chosen.spins.clear()
        return chosen

    # -- the loop is idle ------------------------------------------------------------------------

    def _idle(self, timeout: float | None, poll: Poll) -> Events:
        self._poll = poll
        self._drain()
        events = poll(0)
        if events:
            return events
        self._settle()
        current = self._current
        chosen, self._next = self._next, None
        if chosen is not None and not self._able(chosen):
            chosen = None
        if chosen is None and current is not None:
            if not self._able(current) and self._outside(current):
                found = self._listen(self._patience, current)
                if found:
                    return found
            if not current.fresh and (current.gates or current.parked):
                chosen = current  # in the middle of something that is no point
        if chosen is None:
            chosen = self._decide(current)
        if chosen is not None:
            self._current = chosen
            self._go_on(chosen)
            return []
        return self._pass_time(timeout)

    def _go_on(self, actor: Actor) -> None:
        if actor.gates:
            gate = actor.gates.popleft()
            if not gate.done():
                gate.set_result(None)
        elif actor.parked:
            self._run(actor.parked.popleft())
        else:
            at = self._wakes(actor)
            if at is not None:
                self.loop.advance(at - self.loop.time())

    def _pass_time(self, timeout: float | None) -> Events:
        """Nobody can go on: something from outside must come, or time pass."""
        if timeout is None or (self._anything_outside() and self._real > 0):
            started = monotonic()
            events = self._poll(min(timeout, 0.25) if timeout is not None else 0.25)
            passed = monotonic() - started
            self._real -= passed
            self.loop.advance(passed)
            return events
        self.loop.advance(timeout)
        return []

    # -- outside ---------------------------------------------------------------------------------

    def _anything_outside(self) -> bool:
        return (
            self.loop.connected()
            or self.blocked > 0
            or any(actor.handed for actor in self.actors.values())
            or threading.active_count() > self._threads
        )

    def _outside(self, actor: Actor) -> bool:
        """Whether an answer from outside may be what the user waits for."""
        waits = any(
            held.awaits is not None and self.loop.wakes_at(held.awaits) is None for held in actor.coroutines
        )
        return waits and (actor.handed > 0 or self.loop.connected())

    def _listen(self, seconds: float, actor: Actor) -> Events:
        started = monotonic()
        while True:
            self._drain()
            if actor.gates or actor.parked:
                return []
            left = seconds - (monotonic() - started)
            if left <= 0:
                self._waits_lost += 1
                if self._waits_lost > 10:
                    self._patience = PATIENCE / 10
                return []
            events = self._poll(left)
            if events:
                return events

    def _comes(self, user: int) -> bool:
        """Wait for somebody who could go on when the schedule was made, but still waits for an answer."""
        actor = self.actors.get(user)
        if actor is None or not self._anything_outside():
            return False
        if self.holder is not None:  # on a thread: others may be about to come out of a lock
            for _ in range(100 if self.blocked else 0):
                if self._able(actor):
                    break
                sleep(SETTLING)
            return self._able(actor)
        end = monotonic() + 1.0
        while monotonic() < end and not self._able(actor):
            self._drain()
            if self._poll(0.005):
                break  # something for the loop to handle
        return self._able(actor)

    def _settle(self) -> None:
        """Threads that wait for a lock may have got it just now: see whether they come to their next line."""
        if self.blocked:
            sleep(SETTLING)
            if self.holder is None:
                self._drain()

    # -- threads ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        while True:
            try:
                self._note(*self.events.get_nowait())
            except Empty:
                return

    def _note(self, worker: Worker, what: str) -> None:
        if worker.blocked:
            worker.blocked = False
            self.blocked -= 1
        if what == "parked":
            worker.actor.parked.append(worker)

    def _run(self, worker: Worker) -> None:
        """Let a thread run until it parks, ends, or waits for something else than its turn."""
        with self.lock:
            self.holder = worker
        worker.go.release()
        quiet = 0
        while True:
            try:
                who, what = self.events.get(timeout=0.003)
            except Empty:
                quiet = quiet + 1 if worker.asleep() else 0
                if quiet < 3:
                    continue
                with self.lock:
                    if not self.events.empty():
                        continue
                    self.holder = None
                    worker.blocked = True
                    self.blocked += 1
                return
            self._note(who, what)
            if who is worker:
                with self.lock:
                    self.holder = None
                return
