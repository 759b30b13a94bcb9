"""Watched code that writes through others: libraries and C functions."""

from __future__ import annotations

import heapq
from typing import Any

from tests.attribution import library
from tests.attribution.library import Store, store

LOG: list[Any] = []
BOX = type("Box", (), {"user": None})
STORE = Store(LOG)


def upper(text: str) -> str:
    return text.upper()


def library_function(user: str) -> None:
    library.store(LOG, user)  # WRITE library.store


def imported_function(user: str) -> None:
    store(LOG, upper(user))  # WRITE store of tests.attribution.library


def method(user: str) -> None:
    STORE.put(upper(user))  # WRITE STORE.put


def c_function(user: str) -> None:
    heapq.heappush(LOG, user)  # WRITE heapq.heappush


def builtin(user: str) -> None:
    setattr(BOX, "user", user)  # WRITE setattr


def several_lines(user: str) -> None:
    LOG.extend(  # WRITE LOG.extend
        [
            upper(user),
        ]
    )


def calls_back(user: str) -> None:
    library.call_then_store(lambda: upper(user), LOG)  # WRITE library.call_then_store


def c_calls_back(user: str) -> None:
    LOG.append(user)
    LOG.append("")
    LOG.sort(key=upper)  # WRITE LOG.sort


def two_of_them(user: str) -> None:
    store(LOG, user), library.store(LOG, user)  # WRITE store of tests.attribution.library or library.store


def non_ascii(user: str) -> None:
    größe = "größe"
    LOG.append(größe + user)  # WRITE LOG.append


def itself(user: str) -> None:
    LOG[len(LOG) :] = [upper(user)]  # WRITE None


def by_name(user: str) -> None:
    BOX.user = upper(user)  # WRITE None


def inplace(user: str) -> None:
    global LOG
    LOG += [upper(user)]  # WRITE None


WRITES = {
    f.__name__: f
    for f in (
        library_function,
        imported_function,
        method,
        c_function,
        builtin,
        several_lines,
        calls_back,
        c_calls_back,
        two_of_them,
        non_ascii,
        itself,
        by_name,
        inplace,
    )
}


def reset() -> None:
    LOG.clear()
    BOX.user = None


def endpoint(write: str, user: str) -> None:
    service(write, user)


def service(write: str, user: str) -> None:
    WRITES[write](user)


def armed_within(guard: Any, user: str) -> None:
    for n in range(2):  # something has changed, so that lines are followed from here on
        with guard.request("another"):
            BOX.user = n
    text = upper(user)
    LOG.append(text)  # WRITE LOG.append
