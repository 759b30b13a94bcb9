"""Threads of servers: what they run of an application, they run for a request.

A server's workers parse, wait and answer. They hold no reference to what the application keeps, so the
processor time that they use between two looks is no ground for suspicion, unless watched code is seen on
them. How a thread was started tells whose it is.
"""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

_SERVERS = frozenset(
    (
        "anyio",
        "cheroot",
        "concurrent",
        "execnet",
        "granian",
        "gunicorn",
        "hypercorn",
        "socketserver",
        "uvicorn",
        "waitress",
        "werkzeug",
        "wsgiref",
    )
)
"""Packages that start threads to serve requests, or to pass on what is handed to them."""


def serves(thread: Any) -> bool:
    """Whether ``thread``, a ``threading.Thread``, was started by a server."""
    if _of_server(type(thread).__module__):
        return True
    target = getattr(thread, "_target", None)
    if type(target) is MethodType:
        target = target.__func__
    return type(target) is FunctionType and _of_server(target.__globals__.get("__name__"))


def began_in_server(frame: FrameType | None) -> bool:
    """Whether the outermost frame of a thread that ``threading`` does not know is a server's."""
    if frame is None:
        return False
    while frame.f_back is not None:
        frame = frame.f_back
    return _of_server(frame.f_globals.get("__name__"))


def _of_server(module: object) -> bool:
    return type(module) is str and module.partition(".")[0] in _SERVERS
