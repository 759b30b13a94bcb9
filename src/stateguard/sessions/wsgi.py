"""Stored sessions for WSGI applications."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from stateguard.errors import SessionError
from stateguard.scope import current_scope
from stateguard.sessions.binding import TITLES, Held, SessionBinding, answer, forgetting
from stateguard.sessions.identity import from_wsgi
from stateguard.sessions.steps import run


class WSGISessions:
    """An application whose requests have their session loaded and saved; runs inside an entered scope."""

    def __init__(self, app: Callable[..., Iterable[bytes]], binding: SessionBinding) -> None:
        self.app = app
        self.binding = binding

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        current = current_scope()
        if current is None:
            return self.app(environ, start_response)
        request = from_wsgi(environ)
        try:
            held = run(self.binding.store, self.binding.open(request))
        except SessionError as error:
            return _respond(start_response, error, more=forgetting(self.binding, request, error))
        held.give_to(current)
        start = _Start(held, start_response)
        body: Iterable[bytes] = ()
        try:
            body = self.app(environ, start)
            if type(body) in (list, tuple, bytes) or _is_file(body, environ):
                start.save()
                _release(held)
            else:
                return _Body(body, start)
        except BaseException as error:
            _release(held)
            _close(body)
            if isinstance(error, SessionError) and start.can_refuse(error):
                return _respond(start_response, error, sys.exc_info())
            raise
        if start.error is not None:
            _close(body)
            return _respond(start_response, start.error)
        return body


class _Start:
    """``start_response`` with a save before it: the session as the application left it when it answers."""

    def __init__(self, held: Held, start_response: Callable[..., Any]) -> None:
        self.held = held
        self.start_response = start_response
        self.error: SessionError | None = None
        self.failed_save: SessionError | None = None

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if status[:1] == "5":
            self.held.fail()
        if exc_info is None:
            try:
                self.save()
            except SessionError as error:
                self.error = error
                return _ignore
        more = self.held.response_headers({name.lower() for name, _ in headers})
        arguments = (status, [*headers, *more] if more else headers)
        if exc_info is None:
            return self.start_response(*arguments)
        return self.start_response(*arguments, exc_info)

    def save(self) -> None:
        if self.error is not None:
            return  # the client gets this error
        try:
            run(self.held.binding.store, self.held.save())
        except SessionError as error:
            self.failed_save = error
            raise

    def can_refuse(self, error: SessionError) -> bool:
        """Whether ``error`` is a failed save after ``start_response``, with no piece of the body sent yet."""
        return error is self.failed_save


class _Body:
    """A body produced piece by piece, with a save before its end.

    ``close`` is always there: the lock has to be given back even if the application's body has none.
    """

    __slots__ = ("_body", "_iterator", "_start")

    def __init__(self, body: Any, start: _Start) -> None:
        self._body = body
        self._start = start
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            piece = next(self._iterator)
            if self._start.error is not None:
                # The application's start_response came with its first piece, and the save has failed.
                error = self._start.error
                _close(self._body)
                refusal = _respond(self._start.start_response, error)
                self._iterator = iter(refusal)
                self._body, self._start.error = (), None
                self._start.held.checkout.detached = True
                return next(self._iterator)
        except StopIteration:
            try:
                self._start.save()
            finally:
                _release(self._start.held)
            raise
        except BaseException:
            self._start.held.fail()  # the server calls close() next, which must not save half a turn
            _release(self._start.held)
            raise
        return piece

    def close(self) -> None:
        try:
            _close(self._body)
            # Django's signals run in close(); and a client that went away mid-stream has said what it said.
            self._start.save()
        finally:
            _release(self._start.held)


def _ignore(data: bytes) -> None:
    """The ``write`` of a response that is not sent."""


def _release(held: Held) -> None:
    run(held.binding.store, held.release())


def _respond(
    start_response: Callable[..., Any],
    error: SessionError,
    exc_info: Any = None,
    more: Sequence[tuple[str, str]] = (),
) -> list[bytes]:
    status, body, headers = answer(error)
    headers = [*headers, *more]
    line = f"{status} {TITLES[status]}"
    if exc_info is None:
        start_response(line, headers)
    else:
        start_response(line, headers, exc_info)
    return [body]


def _is_file(body: Any, environ: dict[str, Any]) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return (isinstance(wrapper, type) and isinstance(body, wrapper)) or hasattr(type(body), "fileno")


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()
