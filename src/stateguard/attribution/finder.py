"""Find the line of a change: arm a tracer for what has changed, follow the lines, always disarm."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from stateguard.attribution.choose import choose_tracer
from stateguard.attribution.lines import (
    Position,
    caller,
    describe,
    frames,
    may_write,
    watched_files,
)
from stateguard.attribution.purse import Purse
from stateguard.parallel import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from stateguard.attribution.ledger import Ledger
    from stateguard.attribution.lines import LineTracer
    from stateguard.config import Config, Locate
    from stateguard.leak import Location

SECONDS = 60.0
"""How long one arming lasts at most."""

LINES = 200_000
"""Line events that one arming may cost before it gives up for the time being."""

CLOCK_EVERY = 1_000
"""Line events between two looks at the clock, for threads that never end a request."""

SMALL = 150
"""Nodes up to which comparing everything after each line is cheap."""

ATTEMPTS = 20
"""Armings for one root, one for each change, before they become rare: at the 32nd, the 64th, the 128th."""


class Finder:
    """Follows lines for one guard. ``look`` compares state, under the guard's lock, and settles verdicts;
    ``share`` of the clock is what that may take.
    """

    # As the engine's, with which this is asked for its state.
    __slots__ = (
        "__dict__", "__weakref__", "_always", "_asked", "_files", "_frame", "_last", "_ledger", "_left",
        "_look", "_outside", "_positions", "_purse", "_small", "_tracer", "_until", "_wanted", "armed",
        "mode", "thorough", "why_not",
    )  # fmt: skip

    def __init__(
        self,
        mode: Locate,
        ledger: Ledger,
        look: Callable[[], None],
        share: float = 1.0,
        whatever_it_costs: bool = False,
    ) -> None:
        self.mode = mode
        self.armed = False
        self.why_not = ""
        self._purse = Purse(share)
        self._always = mode == "always" or whatever_it_costs
        self.thorough = self._always
        """Whether all state is compared after each line, or only what has changed before."""
        self._small = False
        self._ledger = ledger
        self._look = look
        self._tracer: LineTracer | None = None
        self._last: LineTracer | None = None
        self._positions: dict[int, Position | None] = {}
        self._files: frozenset[str] = frozenset()
        self._wanted: set[str] = set()
        self._asked: dict[str, int] = {}
        self._outside = 0
        self._left = 0
        self._until = 0.0
        self._frame: tuple[int, FrameType] | None = None

    # -- arming ----------------------------------------------------------------------------------

    def start(self, modules: dict[str, Any], nodes: int) -> None:
        """The guard has taken its baseline of these modules: so many nodes."""
        self._small = nodes <= SMALL
        self.slow_down(False)
        self._files = watched_files(modules)
        if self.mode == "always":
            self._arm()

    def slow_down(self, slicing: bool) -> None:
        """Whether looking at everything at once would take too long, however few nodes that is."""
        self.thorough = self._always or (self._small and not slicing)

    def want(self, root: str) -> None:
        """Something below ``root`` has changed, on a line that is not known."""
        if self.mode != "auto":
            return
        if not self.armed:
            if not self._purse.open():
                return
            asked = self._asked[root] = self._asked.get(root, 0) + 1
            if asked > ATTEMPTS and asked & (asked - 1):
                return
            self._left = LINES
            self._until = time.monotonic() + SECONDS
            self._arm()
        self._wanted.add(root)

    def found(self, root: str) -> None:
        """The line is known; with nothing else wanted, tracing ends."""
        self._wanted.discard(root)
        if self.mode == "auto" and not self._wanted:
            self.disarm()

    def _arm(self) -> None:
        if self.armed:
            return
        tracer, self.why_not = choose_tracer()
        if tracer is None:
            return
        self._outside += 1  # nothing is known of the time before
        self._tracer = self._last = tracer
        self.armed = True
        tracer.add(self)

    def disarm(self) -> None:
        """Leave no trace function and no event behind."""
        tracer, self._tracer = self._tracer, None
        self.armed = False
        # A new table: a thread in the middle of an event must not leave its line behind for the next arming.
        self._positions = {}
        self._wanted.clear()
        if tracer is not None:
            tracer.remove(self)

    def expire(self) -> None:
        """Disarm when the time is up, whether lines were seen or not."""
        if self.armed and self.mode == "auto" and time.monotonic() >= self._until:
            self.disarm()

    def spend(self, cost: int) -> None:
        """So many nanoseconds went into looks that there are only because lines are followed."""
        if self.mode == "auto" and not self._purse.spend(cost):
            self.disarm()

    def why_none(self, request: object) -> str:
        """Why a change was found on no line, in words; ``request`` is the one it is proven against."""
        if self.mode == "never":
            return 'nobody looks for it (locate="never")'
        reason = choose_tracer()[1]
        if reason:
            return reason
        if self.armed and request is None:
            return (
                "several lines, or code that is not watched, may have written; the next occurrence may tell"
            )
        if self.mode == "always":
            return "no line of watched code was under way"
        return 'it is traced from the next occurrence on, within the budget (locate="always": from the first)'

    # -- stretches -------------------------------------------------------------------------------

    def enter(self) -> None:
        """A stretch begins on this thread."""
        if self._tracer is not None:
            self._positions[self._ledger.ident()] = None
            self._tracer.enter()

    def leave(self) -> None:
        """The stretch on this thread has ended, and what it changed is settled."""
        self._positions.pop(self._ledger.ident(), None)
        if self._last is not None:
            self._last.leave()  # also where it has been disarmed while this stretch was running

    # -- lines -----------------------------------------------------------------------------------

    def traces(self, code: CodeType) -> bool:
        """Whether this is code of a watched module."""
        return code.co_filename in self._files

    def here(self) -> bool:
        """Whether a stretch is under way on this thread."""
        return self._ledger.here()

    def line_event(self, frame: FrameType, line: int | None) -> None:
        """The line in flight on this thread ends here: look, then note the next one."""
        if not self.traces(frame.f_code):
            return
        if self.mode == "auto":
            # Code outside of requests pays for its events as well: a loop of its own, or a whole test suite,
            # must not be traced for as long as no request comes along to look at the time.
            self._left -= 1
            if self._left <= 0 or (not self._left % CLOCK_EVERY and time.monotonic() >= self._until):
                self.disarm()
                return
        thread, positions = self._ledger.ident(), self._positions
        if thread not in positions:
            if not self._ledger.here():
                self._outside += 1
                return
            positions[thread] = None
        if self._ledger.crowded or may_write(positions.get(thread)):
            self._frame = (thread, frame)
            began = self._purse.meter()
            self._look()
            self._frame = None
            self.spend(self._purse.meter() - began)
        if not self.armed:
            return
        if line is None:
            positions[thread] = self._back_in(caller(frame.f_back, self.traces))
        else:
            positions[thread] = Position(frame.f_code, line)

    def _back_in(self, frame: FrameType | None) -> Position | None:
        """The line that is in flight again; ``None`` where nobody would hear of the next one."""
        tracer = self._tracer
        if frame is None or tracer is None or not tracer.follow(frame):
            return None
        # The call itself may go on: a C function that has called back.
        return Position(frame.f_code, frame.f_lineno, max(frame.f_lasti, 0))

    def heard(self) -> int:
        """How many events there were on threads without a stretch; -1 if not all threads are followed."""
        return self._outside if self._tracer is not None and self._tracer.everywhere else -1

    def alibi(self, thread: int) -> bool:
        """Whether the line in flight on a thread rules out that it wrote anything."""
        position = self._positions.get(thread)
        return position is not None and not may_write(position)

    def location(self, thread: int) -> Location | None:
        """Where a thread is, as far as lines were followed."""
        position = self._positions.get(thread)
        if position is None:
            return None
        noted = self._frame  # other threads note theirs in the same place
        mine = noted is not None and noted[0] == thread
        frame = noted[1] if noted is not None and mine else self._frame_of(thread)
        return describe(position, frames(frame, self.traces), self.traces)

    def _frame_of(self, thread: int) -> FrameType | None:
        """What a thread executes now; ``None`` of another one where it goes on meanwhile."""
        if not PARALLEL:
            return sys._current_frames().get(thread)
        return sys._getframe() if thread == self._ledger.ident() else None


def finder_for(config: Config, strict: bool, ledger: Ledger, look: Callable[[], None]) -> Finder:
    """A finder as the settings ask for it, of the kind for this build of Python. ``strict``: looks are always
    close.
    """
    share = 1.0 if strict else config.budget
    if not PARALLEL:
        return Finder(config.locate, ledger, look, share, config.budget >= 1)
    from stateguard.attribution.strangers import ParallelFinder  # here: nobody else needs it

    # Nothing but a tracer tells what other threads, that are running as well, have run outside requests.
    mode = "always" if strict and config.locate == "auto" else config.locate
    return ParallelFinder(mode, ledger, look, share, config.budget >= 1)
