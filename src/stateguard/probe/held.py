"""A coroutine that waits for its turn before every step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stateguard.probe.scheduler import Actor, Scheduler


class HeldCoroutine(Coroutine[Any, Any, Any]):
    """Wraps a task's coroutine. When what it waits for is there, it lines up, and goes on when it is let.

    Works on any asyncio task: between the step that asyncio makes and the step of the wrapped coroutine lies
    one more future, the gate. Exceptions thrown in (cancellation) go straight to the coroutine.
    """

    def __init__(self, coroutine: Any, actor: Actor, scheduler: Scheduler) -> None:
        self._coroutine = coroutine
        self._actor = actor
        self._scheduler = scheduler
        self._gate: asyncio.Future[None] | None = None
        self.awaits: Any = None
        """The future that it is waiting for, if it is one."""
        self.stood: tuple[str, Any, Any] = ("", None, None)
        """Where it stood after its last step."""
        actor.coroutines.add(self)

    def send(self, value: Any) -> Any:
        """Line up, or, if it has been let, take one step."""
        gate, self._gate = self._gate, None
        if gate is None and not self._scheduler.free:
            self.awaits = None
            self._gate = gate = self._scheduler.loop.create_future()
            gate._asyncio_future_blocking = True
            self._actor.gates.append(gate)
            return gate
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """One step that begins with an exception."""
        gate, self._gate = self._gate, None
        if gate is not None and gate in self._actor.gates:
            self._actor.gates.remove(gate)
        return self._step(self._coroutine.throw, *error)

    def _step(self, resume: Any, *args: Any) -> Any:
        try:
            yielded = resume(*args)
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio would end the loop: what ends a server is here one failed request.
            self._actor.coroutines.discard(self)
            raise RuntimeError(f"the application raised {type(error).__name__}") from error
        except BaseException:
            self._actor.coroutines.discard(self)
            raise
        self.awaits = yielded
        self._scheduler.suspended(self._actor, self, self._coroutine)
        return yielded

    def close(self) -> None:
        """Close the coroutine."""
        self._actor.coroutines.discard(self)
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._coroutine.__await__())

    def __getattr__(self, name: str) -> Any:
        # cr_frame, cr_await, cr_code, __name__, __qualname__: what tools ask a coroutine for.
        return getattr(self.__dict__["_coroutine"], name)

    def __repr__(self) -> str:
        return repr(self._coroutine)
