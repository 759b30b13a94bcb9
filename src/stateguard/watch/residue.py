"""What a request leaves behind in ``threading.local`` objects on the thread that served it.

The next request on that thread inherits it. The values are private to the thread, so whoever runs the
request reads them, before and after: there is nobody else to blame.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from stateguard.watch.kinds import mro, namespace

if TYPE_CHECKING:
    from collections.abc import Iterable

_read = threading.local.__getattribute__


def thread_dict(local: Any) -> dict[str, Any] | None:
    """The attributes of a thread-local on this thread.

    ``None`` for a subclass with an ``__init__`` of its own: the first access on a thread would run it.
    """
    for cls in mro(type(local)):
        if cls is threading.local:
            break
        if "__init__" in namespace(cls):
            return None
    found = _read(local, "__dict__")
    return found if type(found) is dict else None


def take(locals_: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """What each thread-local holds on this thread now, by identity."""
    return {id(local): dict(thread_dict(local) or {}) for local in locals_}
