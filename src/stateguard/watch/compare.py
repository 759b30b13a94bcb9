"""Compare two lists of references by identity at C speed, without running application code.

``list.__eq__`` skips identical elements but calls ``__eq__`` of the first pair that differs: application
code, which may lie, raise or be slow. Comparing the pointer arrays themselves has none of that and runs
at memory speed. Where the interpreter's list layout is not the known one, ``operator.is_`` does the same
work some five times slower.

Whether watched objects still refer to the same is asked of a compiled part, where there is one: it compares
what it meets and lists nothing. ``STATEGUARD_PURE=1`` does without it.
"""

from __future__ import annotations

import gc
import operator
import sys
from array import array
from itertools import compress, count, islice, repeat
from typing import TYPE_CHECKING, Any

from stateguard import compiled
from stateguard.watch.keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

POINTER = 8


def _by_operator(a: list[Any], i: int, b: list[Any], j: int, n: int) -> bool:
    return all(map(operator.is_, islice(a, i, i + n), islice(b, j, j + n)))


def _by_memory() -> Callable[[list[Any], int, list[Any], int, int], bool] | None:
    """Build the pointer comparison, or ``None`` where the list layout is not proven to be the known one."""
    if sys.implementation.name != "cpython" or sys.maxsize < 2**32:
        return None
    try:
        import ctypes

        # PyDLL keeps the GIL: nobody touches the two lists while they are compared.
        memcmp = ctypes.PyDLL(None).memcmp
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    memcmp.restype = ctypes.c_int
    word = ctypes.c_ssize_t.from_address
    # PyListObject ends in `PyObject **ob_item; Py_ssize_t allocated;` on every CPython so far.
    items_at = list.__basicsize__ - 2 * POINTER
    allocated_at = items_at + POINTER
    for size in (1, 3, 17, 100):
        probe = [object() for _ in range(size)]
        allocated = (list.__sizeof__(probe) - list.__basicsize__) // POINTER
        # `allocated` is derived independently from __sizeof__: agreement proves the offsets before any
        # pointer read through them is followed.
        if word(id(probe) + allocated_at).value != allocated:
            return None
        items = word(id(probe) + items_at).value
        if items % POINTER or [word(items + POINTER * i).value for i in range(size)] != list(map(id, probe)):
            return None

    def same_run(a: list[Any], i: int, b: list[Any], j: int, n: int) -> bool:
        return not n or not memcmp(
            word(id(a) + items_at).value + POINTER * i,
            word(id(b) + items_at).value + POINTER * j,
            n * POINTER,
        )

    return same_run


try:
    if not compiled.WANTED:
        raise ImportError("not wanted")
    from stateguard.watch import _identity as _fast
except ImportError:  # or installed without it: there was no compiler
    _fast = None  # type: ignore[assignment]

same_run: Callable[[list[Any], int, list[Any], int, int], bool] = (
    _fast.same_run if _fast is not None else _by_memory() or _by_operator
)
"""Whether ``a[i:i+n]`` and ``b[j:j+n]`` are the same objects. Both ranges must exist and be private."""


def identical(a: list[Any], b: list[Any]) -> bool:
    """Whether two lists, private to the caller, hold the same objects in the same order."""
    n = len(a)
    return n == len(b) and same_run(a, 0, b, 0, n)


def _same_referents(nodes: tuple[Any, ...], before: list[Any]) -> bool:
    return identical(gc.get_referents(*nodes), before)


def _same_keys(dicts: tuple[dict[Any, Any], ...], before: list[Any]) -> bool:
    return identical(keys_of(dicts), before)


def _same_items(node: list[Any], before: list[Any], start: int, count: int) -> bool:
    if start < 0 or count < 0:
        raise ValueError("same_items(): start and count must not be negative")
    now = list.__getitem__(node, slice(start, start + count))
    return not count or (len(now) == count <= len(before) - start and same_run(now, 0, before, start, count))


def _same_entries(
    node: dict[Any, Any], keys: list[Any], values: list[Any], start: int, at: int, count: int
) -> int:
    if start < 0 or at < 0 or count < 0:
        raise ValueError("places and counts must not be negative")
    if min(len(keys), len(values)) - start < count:
        return -1
    for now, before in ((dict.__iter__(node), keys), (dict.values(node), values)):
        if not identical(list(islice(islice(now, at, None), count)), before[start : start + count]):
            return -1
    return at + count


def _find(items: list[Any], obj: Any, start: int, stop: int) -> int:
    if start < 0:
        raise ValueError("places must not be negative")
    here = map(operator.is_, islice(items, start, max(start, stop)), repeat(obj))
    return next(compress(count(start), here), -1)


def _shift(places: array[int], start: int, by: int) -> None:
    places[start:] = array("I", map(by.__add__, places[start:]))


def _track(items: list[Any], whether: bool) -> None:
    """Nothing: it is visited always."""


def _types_of(items: list[Any]) -> list[type]:
    found = list(map(type, items))
    return list(dict(zip(map(id, found), found, strict=True)).values())


COMPILED = _fast is not None
"""Whether what follows is compiled: then dictionaries of any class may be given to :data:`same_keys`."""

same_referents: Callable[[tuple[Any, ...], list[Any]], bool] = (
    _fast.same_referents if _fast is not None else _same_referents
)
"""Whether ``nodes`` refer to the very objects in ``before``, as ``gc.get_referents`` lists them."""

same_keys: Callable[[tuple[dict[Any, Any], ...], list[Any]], bool] = (
    _fast.same_keys if _fast is not None else _same_keys
)
"""Whether ``before`` lists the keys of ``dicts``. May raise ``RuntimeError`` if one changes meanwhile."""

same_items: Callable[[list[Any], list[Any], int, int], bool] = (
    _fast.same_items if _fast is not None else _same_items
)
"""Whether ``count`` items of ``node``, from ``start`` on, are those of ``before``. Neither is negative."""

same_entries: Callable[[dict[Any, Any], list[Any], list[Any], int, int, int], int] = (
    _fast.same_entries if _fast is not None else _same_entries
)
"""Whether ``count`` entries of a dictionary, from ``start`` on, are those of ``keys`` and ``values``: if so,
where to go on ``at``, which is 0 at the beginning; else -1. May raise ``RuntimeError`` if it changes then."""


find: Callable[[list[Any], Any, int, int], int] = _fast.find if _fast is not None else _find
"""Where ``obj`` itself lies in ``items[start:stop]``, counted from the beginning of ``items``; -1 if it does
not. ``start`` is not negative."""


shift: Callable[[array[int], int, int], None] = _fast.shift if _fast is not None else _shift
"""Add ``by`` to all of ``places``, an array of unsigned integers, from ``start`` on. It is not negative."""


track: Callable[[list[Any], bool], None] = _fast.track if _fast is not None else _track
"""Have the garbage collector visit a list, or not. One that is not visited must hold nothing that is."""

types_of: Callable[[list[Any]], list[type]] = _fast.types_of if _fast is not None else _types_of
"""The types of the objects in a list, each once as long as they are few. No metaclass is asked."""


def common_prefix(a: list[Any], b: list[Any]) -> int:
    """How many leading elements of the two lists are the same objects."""
    return run_length(a, 0, b, 0)


def common_suffix(a: list[Any], b: list[Any], limit: int) -> int:
    """How many trailing elements, at most ``limit``, of the two lists are the same objects."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        n = middle - low
        if same_run(a, len(a) - middle, b, len(b) - middle, n):
            low = middle
        else:
            high = middle - 1
    return low


def between(
    a: list[Any], b: list[Any], a_keys: list[Any] | None = None, b_keys: list[Any] | None = None
) -> tuple[int, int]:
    """How many elements at the beginning and at the end of two sequences are the same objects.

    With keys, entries of mappings: both the key and the value are. What differs lies between.
    """
    start = common_prefix(a, b)
    if a_keys is not None and b_keys is not None:
        start = min(start, common_prefix(a_keys, b_keys))
    end = common_suffix(a, b, min(len(a), len(b)) - start)
    if a_keys is not None and b_keys is not None:
        end = min(end, common_suffix(a_keys, b_keys, min(len(a_keys), len(b_keys)) - start))
    return start, end


def run_length(a: list[Any], i: int, b: list[Any], j: int) -> int:
    """How many elements from ``a[i]`` and ``b[j]`` on are the same objects."""
    most, low, step = min(len(a) - i, len(b) - j), 0, 16
    while low < most and same_run(a, i + low, b, j + low, min(step, most - low)):
        low = min(low + step, most)
        step *= 2
    high = min(low + step, most)
    while low < high:
        middle = (low + high + 1) // 2
        if same_run(a, i + low, b, j + low, middle - low):
            low = middle
        else:
            high = middle - 1
    return low


MOST = 256
"""Places at which two sequences differ, for :func:`unpaired` to find its way."""


def unpaired(
    a: list[Any], b: list[Any], a_keys: list[Any] | None = None, b_keys: list[Any] | None = None
) -> tuple[list[int], list[int]] | None:
    """The places in each of two sequences whose element the other has not got, or has got out of turn.

    With keys, entries of mappings: both the key and the value count. ``None`` if they have little in common.
    What is the same is compared, not hashed: a few elements that left a long sequence are found as fast as it
    is read.
    """
    left, right = (a, b) if a_keys is None or b_keys is None else (a_keys, b_keys)
    i = j = 0
    gone: list[int] = []
    come: list[int] = []
    for _ in range(MOST):
        same = run_length(left, i, right, j)
        if left is not a:
            same = min(same, run_length(a, i, b, j))
        i, j = i + same, j + same
        if i == len(left) or j == len(right):
            break
        if left[i] is right[j]:  # under the same key, another value
            next_left, next_right = i + 1, j + 1
        else:
            next_left, next_right = find(left, right[j], i, len(left)), find(right, left[i], j, len(right))
            if next_left < 0 and next_right < 0:
                next_left, next_right = i + 1, j + 1
            elif next_right < 0 or 0 <= next_left - i <= next_right - j:
                next_right = j
            else:
                next_left = i
        gone += range(i, next_left)
        come += range(j, next_right)
        i, j = next_left, next_right
    else:
        return None
    return gone + list(range(i, len(left))), come + list(range(j, len(right)))


def is_subsequence(part: list[Any], whole: list[Any]) -> bool:
    """Whether the very objects of ``part`` lie in ``whole``, in that order, others perhaps between them."""
    rest = iter(whole)
    return all(any(x is y for y in rest) for x in part)
