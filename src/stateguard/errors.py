"""Every exception stateguard raises on purpose, in one tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.leak import Leak


class StateGuardError(Exception):
    """Base of all errors of this package: catch it to catch them all."""


class ConfigError(StateGuardError, ValueError):
    """An option has a value that cannot work; the message names the option, the value and the fix."""


class WatchError(ConfigError):
    """A watch pattern names nothing that exists; the message lists near matches."""

    def __init__(self, message: str, pattern: str, near: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.pattern = pattern
        self.near = tuple(near)


class NoActiveScope(StateGuardError, LookupError):
    """A per-request value was asked for where no request is being served."""


class SharedStateMutated(StateGuardError):
    """A request changed state that all requests share. Raised in ``on_leak="raise"`` mode only.

    ``leaks`` holds what was found, in the order in which it happened; the message describes them all.
    """

    def __init__(self, message: str, leaks: Sequence[Leak] = ()) -> None:
        super().__init__(message)
        self.leaks = tuple(leaks)
