"""WSGI bodies that are produced piece by piece: code of the application runs at every piece."""

from __future__ import annotations

import os
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateguard.wsgi_stretches import ScopeStretch, Stretch


class _Body:
    """A body that is produced piece by piece. One ``next`` of ours is one ``next`` of the application's.

    A class, not a generator: a generator that is closed before its first ``next`` would never close the body.
    """

    __slots__ = ("__weakref__", "_body", "_iterator", "_open", "_pid", "_stretch", "_thread")

    _closes = False

    def __init__(self, body: Any, stretch: Stretch | ScopeStretch) -> None:
        self._open = [stretch]
        """Empty once the request has ended: of several threads that end it, one takes it out."""
        self._pid = os.getpid()
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._stretch = stretch
        self._thread = get_ident()

    def __del__(self) -> None:
        # A body that nobody exhausts or closes (some adapters never do) must still give its place back. Not
        # a weakref.finalize, which costs more than all else that is done for a body.
        try:
            if self._open and self._pid == os.getpid():
                self._stretch.abandon()
        except Exception:  # at the end of the interpreter, anything may be gone
            pass

    def __getattr__(self, name: str) -> Any:
        # Some applications return their response itself, and those who call them know it as that (Django).
        if name in _Body.__slots__:
            raise AttributeError(name)
        return getattr(self._body, name)

    def __bytes__(self) -> bytes:
        return bytes(self._body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        stretch = self._stretch
        entry = stretch.enter()
        piece = None
        done = True
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            piece = next(self._iterator)
            done = False
        except StopIteration:
            if stretch.silent:
                raise
        finally:
            try:
                stretch.leave(entry)
            finally:  # a signal handler may have raised
                if done and not self._closes:
                    self._end()
        if not stretch.silent:
            error = stretch.objection()
            if error is not None:
                raise error
            if done:
                raise StopIteration
            if piece:
                stretch.responding()
        return piece  # type: ignore[return-value]

    def _end(self) -> None:
        try:
            self._open.pop()
        except IndexError:
            return
        if self._thread != get_ident():
            self._stretch.moved()
        self._stretch.finish()


class _ClosingBody(_Body):
    """A body that is to be closed."""

    __slots__ = ()

    _closes = True

    def close(self) -> None:
        entry = None
        try:
            entry = self._stretch.enter()
            self._body.close()
        finally:
            try:
                if entry is not None:
                    self._stretch.leave(entry)
            finally:
                self._end()


class _SizedBody(_Body):
    """A body whose length is known: servers make a ``Content-Length`` out of one that has one piece."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)


class _SizedClosingBody(_ClosingBody, _SizedBody):
    """Both."""

    __slots__ = ()


_KINDS: dict[tuple[bool, bool], type[_Body]] = {
    (False, False): _Body,
    (False, True): _ClosingBody,
    (True, False): _SizedBody,
    (True, True): _SizedClosingBody,
}
"""By whether the application's body has a length, and a ``close``: servers ask ours whether it has."""


def wrapped(body: Any, stretch: Stretch | ScopeStretch) -> _Body:
    """``body``, each piece of which is produced within ``stretch``."""
    return _KINDS[hasattr(type(body), "__len__"), hasattr(body, "close")](body, stretch)
