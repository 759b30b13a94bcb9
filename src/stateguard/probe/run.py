"""Send: every user a conversation, all at the same time, then one after another; judge each answer."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stateguard.errors import ConfigError
from stateguard.probe.canary import Canaries
from stateguard.probe.verdict import Result
from stateguard.report.text import clean, short_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stateguard.guard import Guard
    from stateguard.probe.requests import Template
    from stateguard.probe.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send, and the bounds. ``shared`` lists requests whose answers are meant for everybody."""

    templates: Sequence[Template]
    users: int = 8
    requests: int = 200
    seconds: float = 30.0
    answer_seconds: float = 10.0
    shared: Sequence[str] = ()
    seed: int = 0

    def check(self) -> None:
        """Raise :class:`~stateguard.errors.ConfigError` for a plan that can prove nothing."""
        if self.users < 2:
            raise ConfigError("a bleed needs two users: --users 2 or more")
        if not self.templates:
            raise ConfigError('no requests: give --request \'POST /chat {"message": "{canary}"}\'')
        if not any(template.marked for template in self.templates):
            raise ConfigError("no request carries a canary: write {canary} where a user's data goes")
        if self.requests < self.users * len(self.templates):
            raise ConfigError(
                f"{self.requests} requests are too few for {self.users} users and {len(self.templates)} "
                f"requests each: allow {self.users * len(self.templates)}, or fewer --users"
            )


class Run:
    """One run against one target."""

    def __init__(self, target: Target, plan: Plan, progress: Callable[[Result], None] | None = None) -> None:
        plan.check()
        self._target = target
        self._plan = plan
        self._progress = progress
        self._canaries = Canaries(plan.users)
        self._names: dict[tuple[int, int], str] = {}
        self._numbers = [0] * plan.users
        self._cookies: list[dict[str, str]] = [{} for _ in range(plan.users)]
        self._random = random.Random(plan.seed)
        self._left = plan.requests
        self.result = Result(plan.users)

    async def run(self) -> Result:
        """Send until the bounds are reached or a bleed is proven at the end of a round."""
        plan, started = self._plan, time.monotonic()
        self._deadline = started + plan.seconds
        await self._target.start()
        try:
            logins = [template for template in plan.templates if template.once]
            steps = [template for template in plan.templates if not template.once] or logins
            await self._together(logins if steps is not logins else [])
            serial = False
            while self._left >= plan.users * len(steps) and time.monotonic() < self._deadline:
                # Alternate: some state bleeds only when requests overlap, some only when they do not.
                if serial:
                    for user in range(plan.users):
                        await self._conversation(user, steps)
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
        async def later(user: int, delay: float) -> None:
            await asyncio.sleep(delay)
            await self._conversation(user, steps)

        delays = [self._random.choice((0.0, 0.0, 0.001, 0.005, 0.02)) for _ in range(self._plan.users)]
        await asyncio.gather(*(later(user, delay) for user, delay in enumerate(delays)))

    async def _conversation(self, user: int, steps: Sequence[Template]) -> None:
        for template in steps:
            if self._left <= 0 or time.monotonic() >= self._deadline:
                return
            self._left -= 1
            number = self._numbers[user]
            self._numbers[user] += 1
            request = template.fill(user, self._canaries.of(user, number))
            self._names[user, number] = template.name
            headers = [*request.headers, ("x-request-id", f"probe-user{user}-{number}")]
            jar = self._cookies[user]
            if jar:
                headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in jar.items())))
            seconds = max(0.1, min(self._plan.answer_seconds, self._deadline - time.monotonic()))
            answer = await self._target.send(request, headers, seconds)
            if answer.error and time.monotonic() >= self._deadline:
                return  # cut off by the end of the run: it says nothing about the application
            jar.update(answer.cookies())
            shared = any(template.matches(pattern) for pattern in self._plan.shared)
            self.result.take(answer, user, template.name, self._canaries, self._names, shared)
            if self._progress is not None:
                self._progress(self.result)


def add_carriers(result: Result, guard: Guard) -> None:
    """Say with each bleed what the guard saw its owner write: the global, and the line."""
    for number, bleed in enumerate(result.bleeds):
        lines = []
        for leak in guard.leaks:
            if leak.request is None or leak.severity not in ("critical", "high", "low"):
                continue
            if leak.request.id.startswith(f"probe-user{bleed.owner}-"):
                place = leak.location
                where = f" at {short_file(place.file)}:{place.line} in {place.function}" if place else ""
                lines.append(clean(f"{leak.path} {leak.kind}{where} by {leak.request} [{leak.severity}]"))
        lines.sort(key=lambda line: "[critical]" not in line)
        result.bleeds[number] = replace(bleed, carriers=tuple(dict.fromkeys(lines))[:3])
