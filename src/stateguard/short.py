"""The short way of most requests through a middleware, where it is compiled.

What is compiled does what :mod:`stateguard.asgi` and :meth:`stateguard.passing.Passing.serve`, or
:mod:`stateguard.wsgi` and what it calls, do for a request that is not inside of another one: it opens a
scope, counts the request, notes its steps. It gives way to them for every other request, as soon as looks
become closer, and when something is thrown in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard import compiled

if TYPE_CHECKING:
    from stateguard._short import (
        Door,
        Drive,
        PaceNumbers,
        ScopeFields,
        TallyNumbers,
        Timer,
        UnseenNumbers,
        Way,
        through,
    )

    COMPILED: bool
else:
    try:
        if not compiled.WANTED:
            raise ImportError("not wanted")
        from stateguard._short import (
            Door,
            Drive,
            PaceNumbers,
            ScopeFields,
            TallyNumbers,
            Timer,
            UnseenNumbers,
            Way,
            through,
        )

        COMPILED = True
    except ImportError:
        COMPILED = False
        Drive = Timer = Way = through = None

        class Door:
            """What of an ASGI middleware is called."""

        class PaceNumbers:
            """What each step asks a pace for."""

            __slots__ = ("next_look",)

        class TallyNumbers:
            """What each request adds to."""

            __slots__ = ("requests",)

        class UnseenNumbers:
            """What each step asks of looks."""

            __slots__ = ("covered", "looks")

        class ScopeFields:
            """What a scope keeps, and what is noted of the request that it belongs to."""

            __slots__ = (
                "_factory",
                "_request",
                "account",
                "began",
                "carrier",
                "closed",
                "exchange",
                "left",
                "origin",
                "owner",
                "parent",
                "previous",
                "stepped",
                "suspect",
                "values",
                "var_token",
            )


__all__ = [
    "COMPILED",
    "Door",
    "Drive",
    "PaceNumbers",
    "ScopeFields",
    "TallyNumbers",
    "Timer",
    "UnseenNumbers",
    "Way",
    "through",
]
