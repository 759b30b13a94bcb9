"""What a request leaves behind in ``threading.local`` objects on the thread that served it.

The next request on that thread inherits it. The values are private to the thread, so whoever runs the
request reads them, before and after: there is nobody else to blame.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from stateguard.watch.content import referents
from stateguard.watch.kinds import mro, namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_read = threading.local.__getattribute__


def _tables(local: Any) -> list[dict[Any, Any]]:
    """Every thread's attributes, by the mark of the thread, among what a thread-local refers to."""
    return [ref for ref in referents(local) if type(ref) is dict]


def _by_shared_mark() -> Callable[[Any], Any]:
    """Since CPython 3.13 a thread has one mark for all thread-locals: that of one of ours."""
    ours = threading.local()

    def mark(local: Any) -> Any:
        mine = _read(ours, "__dict__")
        for table in _tables(ours):
            for key, attributes in list(table.items()):
                if attributes is mine:
                    return key
        return None

    return mark


def _by_own_mark() -> Callable[[Any], Any] | None:
    """Before, the dictionary that CPython keeps for each thread holds a mark for each thread-local."""
    try:
        import ctypes

        state_dict = ctypes.pythonapi.PyThreadState_GetDict
    except (ImportError, AttributeError):
        return None
    state_dict.argtypes = ()
    state_dict.restype = ctypes.c_void_p  # borrowed: py_object would take it for a new reference

    def mark(local: Any) -> Any:
        address = state_dict()
        own = ctypes.cast(address, ctypes.py_object).value if address else None
        return own.get(f"thread.local.{id(local):#x}") if type(own) is dict else None

    return mark


def _find_initialised() -> Callable[[Any], dict[str, Any] | None] | None:
    """Build a way to read a thread-local without initialising it here; ``None`` where none is proven."""
    if sys.implementation.name != "cpython":
        return None
    mark = _by_shared_mark() if sys.version_info >= (3, 13) else _by_own_mark()
    if mark is None:
        return None

    def initialised(local: Any) -> dict[str, Any] | None:
        wanted = mark(local)
        if wanted is None:
            return None
        for table in _tables(local):
            for key, attributes in list(table.items()):
                at = key() if type(key) is weakref.ref else key
                if at is wanted and type(attributes) is dict:
                    return attributes
        return None

    class Proof(threading.local):
        pass

    proof = Proof()
    proof.seen = True
    return initialised if initialised(proof) == {"seen": True} else None


_initialised = _find_initialised()


def has_init(local: Any) -> bool:
    """Whether the first access on a thread runs an ``__init__`` of the application's."""
    for cls in mro(type(local)):
        if cls is threading.local:
            return False
        if "__init__" in namespace(cls):
            return True
    return False


def thread_dict(local: Any) -> dict[str, Any] | None:
    """The attributes of a thread-local on this thread.

    ``None`` for a subclass with an ``__init__`` of its own that has not run on this thread yet: the first
    access would run it.
    """
    if has_init(local):
        return None if _initialised is None else _initialised(local)
    found = _read(local, "__dict__")
    return found if type(found) is dict else None


def take(locals_: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """What each thread-local holds on this thread now, by identity; those not initialised yet left out."""
    found = {}
    for local in locals_:
        members = thread_dict(local)
        if members is not None:
            found[id(local)] = dict(members)
    return found
