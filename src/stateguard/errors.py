"""Every exception stateguard raises on purpose, in one tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.messages import see

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.leak import Leak


class StateGuardError(Exception):
    """Base of all errors of this package: catch it to catch them all.

    Each carries the address of its explanation as a note, which tracebacks show below the message.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(see(type(self).__name__))


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


class FreezeError(StateGuardError, TypeError):
    """Something could not be made immutable; the message lists each place and why."""


class SessionError(StateGuardError):
    """Base of everything that can go wrong with a stored session.

    ``status`` is the HTTP status that the middleware answers with when nothing has been sent yet.
    """

    status = 500

    def __init__(self, message: str, session_id: str | None = None) -> None:
        super().__init__(message)
        self.session_id = session_id


class SessionConflict(SessionError):
    """Two requests changed the same thing; this one was not saved. ``paths`` says what, where known."""

    status = 409

    def __init__(self, message: str, session_id: str | None = None, paths: Sequence[str] = ()) -> None:
        super().__init__(message, session_id)
        self.paths = tuple(paths)


class SessionLocked(SessionConflict):
    """Another request holds the conversation's lock, and still held it when the waiting time was over."""


class SessionDenied(SessionError):
    """The session belongs to another user. It was not loaded."""

    status = 403


class SessionIdRefused(SessionError):
    """The client sent a session id that carries no valid signature, or one that no store could keep."""

    status = 400


class SessionTooLarge(SessionError):
    """The session would exceed the store's ``max_bytes``; what was stored before is unchanged."""

    status = 413


class SessionNotStorable(SessionError, TypeError):
    """The session holds a value that can not be stored; the message names the place and the type."""


class SessionRecordError(SessionError):
    """A stored record can not be read: damaged, foreign, or of a newer format. It was left as it is."""


class SessionStoreError(SessionError):
    """The store did not do its work: down, slow, full, locked or answering garbage. Nothing was confirmed."""

    status = 503
