"""A stretch begins and ends also where another thread lets go of what a look has discarded."""

from __future__ import annotations

from typing import Any

from tests.attribution import shared
from tests.attribution.driver import exact, guarding


class LetGoByAnother:
    """A lock; once it is released, another thread is quicker to let go of what was discarded."""

    def __init__(self, turn: Any) -> None:
        self._turn, self._lock = turn, turn.lock

    def release(self) -> None:
        self._lock.release()
        self._turn.discarded = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


def test_the_ledger_knows_who_runs() -> None:
    with guarding() as guard:
        guard.start()
        with guard.request("warm"):
            shared.append("warm")
        engine = guard.engine
        assert engine is not None
        engine.turn.lock = LetGoByAnother(engine.turn)
        with guard.request("one") as request:
            guard.end(request)
            shared.rebind(object())  # nobody's: the next look discards it
            guard.begin(request)
            assert engine.ledger.holds(request)
            shared.append("one")
            shared.rebind(None)
        assert not engine.ledger.here()
        assert [leak.request.path for leak in exact(guard.leaks) if leak.path.endswith(".LOG")] == [
            "warm",
            "one",
        ]
