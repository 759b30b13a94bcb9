"""The keys of many dictionaries in one C-speed pass.

``gc.get_referents`` does not report the keys of a dictionary that has nothing but strings for keys, so they
are read beside it, and take as long as all the rest of a check. Since CPython 3.13 a list display such as
``[*a, *b, *c]`` copies the keys of a dictionary without an iterator and without a call: two thirds of the
time of ``list.extend``, two fifths of that of a chain. Before 3.13 a chain is quicker.
"""

from __future__ import annotations

import sys
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP = 32
"""Dictionaries are read in groups of a multiple of so many, so that few functions are needed."""

_MOST = 1024
"""Dictionaries that one function reads."""

_NONE: dict[Any, Any] = {}
"""Fills a group up: it has no keys."""


@cache
def _reader(n: int) -> Callable[..., list[Any]]:
    """A function that lists the keys of its ``n`` arguments. Nothing but ``n`` goes into its source."""
    names = [f"d{i}" for i in range(n)]
    return eval(f"lambda {', '.join(names)}: [{', '.join('*' + name for name in names)}]")  # type: ignore[no-any-return]


def _by_display(dicts: tuple[dict[Any, Any], ...]) -> list[Any]:
    n = len(dicts)
    if n == 1 or (n % _STEP == 0 and n <= _MOST):
        return _reader(n)(*dicts)
    return list(chain.from_iterable(dicts))


def _by_chain(dicts: tuple[dict[Any, Any], ...]) -> list[Any]:
    return list(chain.from_iterable(dicts))


def padded(dicts: tuple[dict[Any, Any], ...]) -> tuple[dict[Any, Any], ...]:
    """The same dictionaries, ready to be given to :func:`keys_of` many times."""
    lacking = -len(dicts) % _STEP
    return dicts + (_NONE,) * lacking if keys_of is _by_display and len(dicts) > 1 else dicts


keys_of = _by_display if sys.version_info >= (3, 13) else _by_chain
"""The keys of exact dictionaries, one after the other. Raises ``RuntimeError`` if one changes meanwhile."""
