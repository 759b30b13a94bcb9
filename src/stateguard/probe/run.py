"""Plain load: every user a conversation, all at the same time, then one after another; judge each answer."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from stateguard.probe.canary import Canaries
from stateguard.probe.sender import Sender
from stateguard.probe.verdict import Result, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stateguard.probe.plan import Plan
    from stateguard.probe.requests import Template
    from stateguard.probe.targets import Target


class Run:
    """One run against one target."""

    def __init__(self, target: Target, plan: Plan, progress: Callable[[Result], None] | None = None) -> None:
        self._plan = plan = plan.ready()
        self._target = target
        self._progress = progress
        self._canaries = Canaries(plan.users)
        self._senders = [Sender(user, self._canaries) for user in range(plan.users)]
        self._random = random.Random(plan.seed)
        self._left = plan.requests
        self.result = Result(plan.users, notes=plan.notes())

    async def run(self) -> Result:
        """Send until the bounds are reached or a bleed is proven at the end of a round."""
        plan, started = self._plan, time.monotonic()
        self._deadline = started + plan.seconds
        try:
            await self._target.start()
            logins = [template for template in plan.templates if template.once]
            steps = [template for template in plan.templates if not template.once] or logins
            await self._together(logins if steps is not logins else [])
            serial = False
            while self._left >= plan.users * len(steps) and time.monotonic() < self._deadline:
                # Alternate: some state bleeds only when requests overlap, some only when they do not.
                if serial:
                    for sender in self._senders:
                        await self._conversation(sender, steps)
                else:
                    await self._together(steps)
                serial = not serial
                if self.result.bled:
                    break
        finally:
            await self._target.stop()
            self.result.seconds = time.monotonic() - started
        return self.result

    async def _together(self, steps: Sequence[Template]) -> None:
        async def later(sender: Sender, delay: float) -> None:
            await asyncio.sleep(delay)
            await self._conversation(sender, steps)

        delays = [self._random.choice((0.0, 0.0, 0.001, 0.005, 0.02)) for _ in self._senders]
        await asyncio.gather(*map(later, self._senders, delays))

    async def _conversation(self, sender: Sender, steps: Sequence[Template]) -> None:
        for template in steps:
            if self._left <= 0 or time.monotonic() >= self._deadline:
                return
            self._left -= 1
            request, headers, number = sender.prepare(template)
            seconds = max(0.1, min(self._plan.answer_seconds, self._deadline - time.monotonic()))
            answer = await self._target.send(request, headers, seconds)
            if answer.error and time.monotonic() >= self._deadline:
                return  # cut off by the end of the run: it says nothing about the application
            sender.take(template, answer)
            self.result.add(judge(answer, sender.user, number, self._canaries, self._sent, template))
            if self._progress is not None:
                self._progress(self.result)

    def _sent(self, user: int, number: int) -> tuple[str, bool]:
        return self._senders[user].sent(number)
