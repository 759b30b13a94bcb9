"""Where leaks go beside the log: anything with :class:`Sink`'s two methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stateguard.leak import Leak


class Sink(Protocol):
    """Takes leaks as they are found. Called without any lock held, possibly by several threads at once.

    An exception of a sink is logged once per guard and reaches neither the request nor the other sinks.
    """

    def leak(self, leak: Leak, seen: int) -> None:
        """``leak`` has happened; this process has seen leaks of its :attr:`Leak.id` ``seen`` times now.

        Frequent leaks are thinned out, so ``seen`` may grow by more than one between two calls.
        """

    def close(self) -> None:
        """Nothing more will come."""


@runtime_checkable
class TakesAllowances(Protocol):
    """A sink that also wants to know how often each exemption has matched in this process."""

    def allowances(self, hits: Mapping[str, int]) -> None:
        """The process ends: what each entry of ``allow`` has let pass."""


@runtime_checkable
class TakesFigures(Protocol):
    """A sink that also shows what the guard costs."""

    def watch_figures(self, ask: Callable[[], Mapping[str, float]]) -> None:
        """``ask`` gives the present :attr:`Guard.stats <stateguard.Guard.stats>` as numbers, or {}."""
