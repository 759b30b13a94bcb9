"""What requests leave in thread-locals: on a server's threads, the next request finds it there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from stateguard.attribution.witness import ResidueWitness

if TYPE_CHECKING:
    from stateguard.attribution.request import GuardedRequest
    from stateguard.engine import Engine
    from stateguard.leak import Location
    from stateguard.watch.watcher import Seen


class ThreadLocals:
    """Looks at the watched thread-locals of the thread it is called on, for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._witness = ResidueWitness()
        self._adopted: object = None

    @property
    def watched(self) -> bool:
        """Whether there are any."""
        watcher = self._engine.watcher
        return watcher is not None and bool(watcher.graph.locals)

    def adopt(self) -> None:
        """Watch this thread's thread-locals as shared state: an event loop serves every request on it."""
        watcher = self._engine.watcher
        if watcher is None or not watcher.graph.locals:
            return
        mark = (threading.get_ident(), len(watcher.graph.locals), id(watcher.graph))
        if mark != self._adopted:
            with self._engine.turn.lock:
                self._adopted = mark
                try:
                    watcher.add_thread_locals()
                except Exception:
                    self._engine.failed("looking at thread-locals")

    def take(self, request: GuardedRequest) -> None:
        """Note what this thread's thread-locals hold before the request runs on it."""
        request.residue = self.residue()

    def check(self, request: GuardedRequest) -> None:
        """Report what the request has left in this thread's thread-locals."""
        before, request.residue = request.residue, None
        self.judge(request, before)

    def residue(self) -> dict[int, dict[str, Any]] | None:
        """What this thread's thread-locals hold; ``None`` when none are watched."""
        if self._engine.watcher is None or not self._engine.watcher.graph.locals:
            return None
        with self._engine.turn.lock:
            try:
                return self._engine.watcher.take_residue()
            except Exception:
                self._engine.failed("looking at thread-locals")
                return None

    def judge(self, request: GuardedRequest, before: dict[int, dict[str, Any]] | None) -> None:
        """Report what this thread's thread-locals hold beyond ``before``: ``request`` has run here."""
        if before is None or self._engine.watcher is None:
            return
        with self._engine.turn.lock:
            try:
                seen = self._engine.watcher.left_behind(before)
                self._engine.settling.record(seen, [request], locate=self._place)
            except Exception:
                self._engine.failed("looking at thread-locals")
            self._witness.forget(self._engine.ledger.ident())
        self._engine.flush()

    def line_ended(self) -> None:
        """A line has ended on a traced thread: who wrote what is left behind is known by it."""
        engine = self._engine
        if engine.watcher is not None and engine.watcher.graph.locals and engine.finder.armed:
            thread = engine.ledger.ident()
            self._witness.line(thread, engine.watcher.take_residue(), engine.finder.location(thread))

    def _place(self, seen: Seen, request: GuardedRequest | None) -> Location | None:
        return self._witness.place(self._engine.ledger.ident(), id(seen.node), str(seen.change.key))
