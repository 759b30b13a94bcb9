"""One run of a script under one policy: every user's requests, one step at a time."""

from __future__ import annotations

import asyncio
import random
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from stateguard.errors import StateGuardError
from stateguard.guard import Guard
from stateguard.probe.answer import Answer
from stateguard.probe.canary import Canaries
from stateguard.probe.carriers import carriers
from stateguard.probe.inprocess import Lifespan, serve_asgi, serve_wsgi
from stateguard.probe.scheduler import Scheduler, actor_of
from stateguard.probe.sender import Sender
from stateguard.probe.switches import Replay
from stateguard.probe.targets import ServerThreads, finish
from stateguard.probe.verdict import Exchange, judge
from stateguard.probe.virtual_loop import VirtualLoop
from stateguard.probe.workers import Worker, holding_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.leak import Leak
    from stateguard.probe.places import Places
    from stateguard.probe.requests import Template
    from stateguard.probe.scheduler import Actor
    from stateguard.probe.switches import Point, Policy, Script


PATIENCE = 600.0
"""Virtual seconds that an answer may take to begin: they cost nothing, and one user's pass for all others."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed."""

    app: Any
    protocol: str
    templates: Sequence[Template]
    places: Places
    answer_seconds: float = 10.0


@dataclass
class Outcome:
    """What came of it. ``halt`` says why it could not be run to the end."""

    exchanges: list[Exchange] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    switches: dict[Point, int] = field(default_factory=dict)
    missed: list[Point] = field(default_factory=list)
    halt: str = ""
    mute: bool = False
    """Whether nobody was answered, not even by an error page."""

    @property
    def bled(self) -> bool:
        """Whether a user was answered with another's data."""
        return any(exchange.bleeds for exchange in self.exchanges)


def run_trial(
    subject: Subject, script: Script, policy: Policy, guarded: bool = False, leaving: bool = False
) -> Outcome:
    """Run ``script`` in this process, on a loop of its own. No loop may be running on this thread.

    ``leaving`` says that the process ends with it: what still runs need not be wound up.
    """
    guard = None
    if guarded:
        try:
            guard = Guard(mode="on", locate="always", on_leak=_quiet)
        except StateGuardError:
            guard = None  # configured for another situation: the proof stands without it
    state = random.getstate()
    random.seed(0)  # what the application draws must not differ from one run to the next
    try:
        return _Trial(subject, script, policy, guard).run(leaving)
    finally:
        random.setstate(state)
        if guard is not None:
            guard.close()


def _quiet(leak: Leak) -> None:
    """Shared state that changes is only evidence here: the verdict is on what came back."""


class _Trial:
    def __init__(self, subject: Subject, script: Script, policy: Policy, guard: Guard | None) -> None:
        self._subject = subject
        self._script = script
        self._policy = policy
        self._guard = guard
        self._app = subject.app
        if guard is not None:
            self._app = guard.wsgi(self._app) if subject.protocol == "wsgi" else guard.asgi(self._app)
        self._canaries = Canaries(max(script.steps, default=0) + 1)
        self._senders = {user: Sender(user, self._canaries) for user in script.steps}
        self._threads = ServerThreads()
        self._answers: dict[tuple[int, int], tuple[Template, Answer]] = {}

    def run(self, leaving: bool) -> Outcome:
        loop = VirtualLoop()
        outcome = Outcome()
        try:
            asyncio.set_event_loop(loop)
            lifespan = Lifespan(self._app)
            if self._subject.protocol == "asgi":
                try:
                    loop.run_until_complete(lifespan.start())
                except StateGuardError as error:
                    outcome.halt = str(error)
                    return outcome
            self._scheduler = scheduler = Scheduler(
                loop, self._subject.places, self._policy, list(self._script.steps)
            )
            with holding_threads(scheduler):
                try:
                    outcome.halt = self._converse(loop, lifespan)
                finally:
                    if not leaving:
                        scheduler.release()
                        loop.set_task_factory(None)
                        self._wind_up(loop, lifespan)
                        self._threads.stop()
            outcome.points, outcome.switches = scheduler.points, scheduler.switches
            if isinstance(self._policy, Replay):
                outcome.missed = self._policy.missed
        finally:
            if not leaving:
                asyncio.set_event_loop(None)
                loop.close()
        outcome.mute = not any(answer.begun for _, answer in self._answers.values())
        outcome.exchanges = self._judged()
        return outcome

    def _converse(self, loop: VirtualLoop, lifespan: Lifespan) -> str:
        """Everybody's requests. Returns why they could not be sent to the end, mostly nothing."""

        async def everybody() -> None:
            users = [self._conversation(actor, lifespan) for actor in self._scheduler.actors.values()]
            await asyncio.gather(*users)

        task = loop.create_task(everybody())
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()  # also stopped when the application runs without end
        if task.cancelled():
            return "the application cancels tasks that are not its own, the server's among them"
        if task.done():
            task.result()
        return ""

    def _wind_up(self, loop: VirtualLoop, lifespan: Lifespan) -> None:
        """Nothing may be left running: but it is not waited for for long."""

        async def end() -> None:
            me = asyncio.current_task()
            for task in asyncio.all_tasks():
                if task is not me and task is not lifespan.task:
                    task.cancel()
            await lifespan.stop()
            others = asyncio.all_tasks() - {me}
            for task in others:
                task.cancel()
            if others:
                await asyncio.wait(others, timeout=0.5)

        loop.run_until_complete(end())
        loop.run_until_complete(loop.shutdown_asyncgens())

    async def _conversation(self, actor: Actor, lifespan: Lifespan) -> None:
        sender, templates = self._senders[actor.user], self._subject.templates
        for index in self._script.steps[actor.user]:
            if index >= len(templates):
                continue
            template = templates[index]
            request, headers, number = sender.prepare(template)
            answer = Answer()
            self._answers[actor.user, number] = (template, answer)
            self._scheduler.begin(actor)
            await self._send(actor, request, headers, answer, lifespan)
            sender.take(template, answer)
        self._scheduler.reach(actor, "end")

    async def _send(
        self,
        actor: Actor,
        request: Template,
        headers: list[tuple[str, str]],
        answer: Answer,
        lifespan: Lifespan,
    ) -> None:
        leave, begun = asyncio.Event(), asyncio.Event()
        if self._subject.protocol == "wsgi":
            if request.method == "WS":
                answer.error = "a WSGI application has no websockets"
                return
            served = self._serve_wsgi(actor, request, headers, answer)
        else:
            served = serve_asgi(self._app, request, headers, answer, lifespan.state, leave, begun)
        # A context of its own, as under a server; in it, tasks and threads are held.
        context = copy_context()
        context.run(actor_of.set, actor)
        task = asyncio.get_running_loop().create_task(served, context=context)
        await finish(task, answer, self._subject.answer_seconds, leave, begun.wait(), PATIENCE)

    async def _serve_wsgi(
        self, actor: Actor, request: Template, headers: list[tuple[str, str]], answer: Answer
    ) -> None:
        worker = Worker(lambda: serve_wsgi(self._app, request, headers, answer), actor, self._scheduler)
        try:
            await self._threads.run(worker)
        finally:
            worker.delivered()

    def _judged(self) -> list[Exchange]:
        exchanges = []
        leaks = self._guard.leaks if self._guard is not None else []
        for (user, number), (template, answer) in self._answers.items():
            if not answer.status and not answer.error:
                endless = self._scheduler.endless
                answer.error = "it runs without end" if endless else "the loop was stopped before it answered"
            exchange = judge(answer, user, number, self._canaries, self._sent, template)
            bleeds = (
                replace(bleed, carriers=carriers(leaks, bleed.owner, bleed.owner_number))
                for bleed in exchange.bleeds
            )
            exchanges.append(replace(exchange, bleeds=tuple(bleeds)))
        return exchanges

    def _sent(self, user: int, number: int) -> tuple[str, bool]:
        sender = self._senders.get(user)
        return sender.sent(number) if sender is not None else ("?", False)
