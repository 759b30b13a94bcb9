"""Read what a node holds, without running application code and without tearing under concurrent writers.

Every read is one call of a C method of the builtin type (never of a subclass), so that no bytecode runs in
between. A finalizer or, on a free-threaded build, another thread can still get in: then the read is
repeated, and gives up with :class:`Unsettled`, which the caller treats as "look again next time".
"""

from __future__ import annotations

import gc
import io
import itertools
import sys
import types
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from stateguard.parallel import PARALLEL
from stateguard.watch.compare import between, find, identical, same_run, unpaired
from stateguard.watch.kinds import Kind, is_a, namespace, qualname

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.watch.kinds import TypeInfo

T = TypeVar("T")

referents: Callable[..., list[Any]] = gc.get_referents

RETRIES = 8

_PAIRS = 64
"""References of a dictionary up to which it is quickest to read its entries in pairs."""

_WHOLE = 1 << 20
_SAMPLE = 4096
"""Bytes at either end that tell a stream of more than ``_WHOLE`` bytes, with its length and position."""

_FIRST, _SECOND = object(), object()
LISTS_BACKWARDS = referents([_FIRST, _SECOND])[0] is _SECOND
"""Whether a list names its elements from the last to the first, as CPython's does."""


def in_order(refs: list[Any]) -> list[Any]:
    """The elements of a list whose references are ``refs``."""
    return refs[::-1] if LISTS_BACKWARDS else refs


class Unsettled(RuntimeError):
    """The object kept changing while it was read."""


def settled(read: Callable[[], T]) -> T:
    """``read()``, repeated while another thread changes what is read. Raises :class:`Unsettled`."""
    for _ in range(RETRIES):
        try:
            return read()
        except RuntimeError:  # "changed size during iteration", "mutated during iteration"
            continue
    raise Unsettled


class Content:
    """What a node held at one instant.

    ``values`` in order; ``keys`` beside them for mappings; ``own`` is the instance dictionary, ``slots`` the
    values of slots by name. ``plain`` says that ``values`` are exactly the node's references, so that a
    snapshot need not store them twice.
    """

    __slots__ = ("fingerprint", "gap", "keys", "own", "plain", "ranks", "slots", "values")

    def __init__(
        self,
        values: list[Any],
        keys: list[Any] | None = None,
        own: dict[str, Any] | None = None,
        slots: dict[str, Any] | None = None,
        plain: bool = False,
        fingerprint: Any = None,
        gap: int = 0,
    ) -> None:
        self.values = values
        self.keys = keys
        self.own = own
        self.slots = slots
        self.plain = plain
        self.fingerprint = fingerprint
        self.gap = gap
        """Elements left out between those in ``values`` and ``keys``: they are as they were."""
        self.ranks: list[int] = []
        """How many of these lie before each of the others, where they do not lie in one piece."""

    def part(self, start: int, end: int) -> Content:
        """The same with these of its elements, or entries, only."""
        keys = None if self.keys is None else self.keys[start:end]
        return Content(self.values[start:end], keys, self.own, self.slots)

    def only(self, places: list[int]) -> Content:
        """The same with the elements, or entries, at these places only."""
        keys = None if self.keys is None else [self.keys[i] for i in places]
        gap = self.gap + len(self.values) - len(places)
        part = Content([self.values[i] for i in places], keys, self.own, self.slots, gap=gap)
        part.ranks = [place - i for i, place in enumerate(places)]
        return part


MADE_WHEN_ASKED = sys.version_info < (3, 13)
"""Whether an instance gets a dictionary when it is asked for one, and from then on refers to that in place of
its attributes."""

LONG = 64
"""Elements beyond which it is worth while to look for those in the middle that are the same."""


def differing(before: Content, after: Content) -> tuple[Content, Content]:
    """The two contents without what both begin and end with, and of long ones without what both have in turn:
    what has come, gone, or changed places.
    """
    a, b = before.values, after.values
    if (before.keys is None) != (after.keys is None):
        return before, after
    start, end = between(a, b, before.keys, after.keys)
    if start or end:
        before, after = before.part(start, len(a) - end), after.part(start, len(b) - end)
    if min(len(before.values), len(after.values)) > LONG:
        places = unpaired(before.values, after.values, before.keys, after.keys)
        if places is not None:
            return before.only(places[0]), after.only(places[1])
    return before, after


def _slot_values(info: TypeInfo, obj: Any) -> dict[str, Any]:
    found = {}
    for name, get in info.slots:
        try:
            found[name] = get(obj)
        except AttributeError:  # an unset slot
            continue
    return found


def own_dict(info: TypeInfo, obj: Any) -> dict[str, Any] | None:
    """The instance dictionary, or ``None``: read through the type's descriptor, past any override."""
    if info.dict_of is None:
        return None
    try:
        found = info.dict_of(obj)
    except (AttributeError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def class_dict(cls: type) -> dict[str, Any]:
    """The real dictionary of a class, which ``cls.__dict__`` only shows through a proxy."""
    found = referents(namespace(cls))
    return found[0] if found else {}


def _function_parts(function: types.FunctionType) -> list[Any]:
    parts: list[Any] = [
        function.__defaults__,
        function.__kwdefaults__,
        function.__code__,
        function.__dict__,
    ]
    parts.extend(function.__closure__ or ())
    return parts


def _mapping(info: TypeInfo, obj: Any, refs: list[Any]) -> Content:
    keys, values = _entries(obj, many=len(refs) > _PAIRS)
    if info.kind is Kind.ORDERED and len(keys) > 1 and not _lies_at(refs, keys):
        # Only the references show the order of an OrderedDict without hashing its keys.
        known = dict(zip(map(id, keys), range(len(keys)), strict=True))
        order = dict.fromkeys(filter(known.__contains__, map(id, refs)))
        places = [*map(known.__getitem__, order), *(known[key] for key in known if key not in order)]
        keys = [keys[i] for i in places]
        values = [values[i] for i in places]
    return Content(values, keys)


def _entries(obj: dict[Any, Any], many: bool) -> tuple[list[Any], list[Any]]:
    """The keys of a dictionary, and the value of each."""
    if many:
        # Without a tuple for each entry: so many of them make the garbage collector look at all that is
        # young. That the keys are the same ones afterwards says that they belong to the values, whatever
        # other threads do.
        keys, values = list(dict.__iter__(obj)), list(dict.values(obj))
        if identical(keys, list(dict.__iter__(obj))) and len(keys) == len(values):
            return keys, values
    items = list(dict.items(obj))
    return [key for key, _ in items], [value for _, value in items]


def _lies_at(refs: list[Any], keys: list[Any]) -> bool:
    """Whether the keys lie among the references in that order, side by side."""
    start = find(refs, keys[0], 0, len(refs))
    return 0 <= start <= len(refs) - len(keys) and same_run(refs, start, keys, 0, len(keys))


def _cached(obj: Any, refs: list[Any]) -> list[Any]:
    """What an ``lru_cache`` wrapper, or the table inside it, leads to: results, the table, the function."""
    found = []
    for ref in list(dict.values(obj)) if type(obj) is dict else refs:
        if qualname(type(ref)) == "_lru_list_elem":
            found.extend(referents(ref))
        elif type(ref) is not dict or type(obj) is dict or "__wrapped__" not in ref:
            found.append(ref)
    return found


def _locals(generator: Any, refs: list[Any]) -> list[Any]:
    """The local variables of a suspended generator, unnamed. Raises :class:`Unsettled` while it runs."""
    running = generator.gi_running if type(generator) is types.GeneratorType else generator.ag_running
    if running:
        raise Unsettled
    for i, ref in enumerate(refs):
        if type(ref) is types.FunctionType:
            return [ref for ref in refs[i + 1 :] if type(ref) is not types.CodeType]
    return []  # it has ended


def maker(generator: Any) -> types.FunctionType | None:
    """The function whose call made the generator; ``None`` once it has ended."""
    found = (ref for ref in referents(generator) if type(ref) is types.FunctionType)
    return next(found, None)


def cache_table(values: list[Any]) -> dict[Any, Any] | None:
    """The table of an ``lru_cache`` among what its wrapper leads to, which may be dicts as well.

    The wrapper's C code names its parts in this order, after the results: table, function, a mark, two types.
    """
    table = values[-5] if len(values) >= 5 else None
    return table if type(table) is dict else None


def _elements(obj: Any) -> list[Any]:
    """The elements of a numpy array of objects; nothing of any other buffer."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and is_a(obj, numpy.ndarray):
        ndarray = numpy.ndarray
        if ndarray.dtype.__get__(obj).hasobject:
            flat = ndarray.tolist(ndarray.reshape(obj, -1)) if obj.size else []
            return flat if isinstance(flat, list) else [flat]
    return []


def _stream_fingerprint(stream: Any) -> Any:
    cls: Any = io.BytesIO if is_a(stream, io.BytesIO) else io.StringIO
    try:
        data = cls.getvalue(stream)
        if cls is io.StringIO:
            return cls.tell(stream), hash(data)
        if len(data) > _WHOLE:
            data = b"%d" % len(data) + data[:_SAMPLE] + data[-_SAMPLE:]
        # Never the very object: the stream writes into it later on, and it would keep its first hash.
        return cls.tell(stream), hash(b"." + data)
    except ValueError:  # closed
        return None


def recent(obj: Any) -> Any:
    """The end of what a buffer of bytes or text holds; ``None`` for any other buffer."""
    if is_a(obj, bytearray):
        return bytes(bytearray.__getitem__(obj, slice(-_SAMPLE, None)))
    for cls in (io.BytesIO, io.StringIO):
        if is_a(obj, cls):
            try:
                return cls.getvalue(obj)[-_SAMPLE:]
            except ValueError:  # closed
                return None
    return None


def fingerprint(obj: Any) -> Any:
    """A cheap value that differs when the bytes of a buffer, or a counter's position, differ.

    Computed in calls that keep the GIL: an exported buffer that another thread could meet would make its
    ``bytearray`` refuse to resize. The hash is salted per process, so it is for comparison only.
    """
    if is_a(obj, bytearray):
        plain = bytearray.__getitem__(obj, slice(None))
        return len(plain), hash(bytes(plain))
    if is_a(obj, array):
        return obj.typecode, hash(array.tobytes(obj))
    if is_a(obj, itertools.count):
        return itertools.count.__repr__(obj)
    if is_a(obj, io.BytesIO) or is_a(obj, io.StringIO):
        return _stream_fingerprint(obj)
    ndarray = sys.modules["numpy"].ndarray
    return (
        ndarray.shape.__get__(obj),
        str(ndarray.dtype.__get__(obj)),
        hash(ndarray.tobytes(obj)),
    )


def _read(info: TypeInfo, obj: Any, refs: list[Any]) -> Content:
    kind = info.kind
    if kind is Kind.DICT or kind is Kind.ORDERED:
        content = _mapping(info, obj, refs)
    elif kind is Kind.LIST and info.exact:
        return Content(in_order(refs), plain=True)
    elif kind is Kind.LIST:
        content = Content(list.copy(obj))
    elif kind is Kind.DEQUE:
        content = Content(list(deque.__iter__(obj)))
    elif kind is Kind.SET:
        content = Content(list(set.__iter__(obj)))
    elif kind is Kind.TUPLE:
        content = Content(list(tuple.__iter__(obj)))
    elif kind is Kind.FROZENSET:
        content = Content(list(frozenset.__iter__(obj)))
    elif kind is Kind.CLASS:
        content = Content([class_dict(obj)])
    elif kind is Kind.FUNCTION:
        content = Content(_function_parts(obj))
    elif kind is Kind.BUFFER:
        content = Content(_elements(obj), fingerprint=fingerprint(obj))
    elif kind is Kind.TICKER:
        content = Content([], fingerprint=fingerprint(obj))
    elif kind is Kind.INSTANCE or kind is Kind.LOCAL:
        content = Content([])
    elif kind is Kind.CACHE:
        content = Content(_cached(obj, refs))
    elif kind is Kind.GENERATOR:
        content = Content(_locals(obj, refs))
    elif type(obj) is memoryview:
        try:
            content = Content([obj.obj])
        except ValueError:  # released
            content = Content([])
    else:
        content = Content(refs)
    if kind is not Kind.LOCAL and (info.dict_of is not None or info.slots):
        content.own = own_dict(info, obj)
        if info.slots:
            content.slots = _slot_values(info, obj)
    elif content.fingerprint is None and identical(content.values, refs):
        content.values = refs
        content.plain = True
    return content


def read(info: TypeInfo, obj: Any, refs: list[Any]) -> Content:
    """What ``obj``, whose references are ``refs``, holds now. Raises :class:`Unsettled`."""
    return settled(lambda: _read(info, obj, refs))


def _read_with(info: TypeInfo, obj: Any, refs: list[Any]) -> tuple[list[Any], Content]:
    content = read(info, obj, refs)
    if MADE_WHEN_ASKED and content.own is not None and find(refs, content.own, 0, len(refs)) < 0:
        refs = referents(obj)
        content = read(info, obj, refs)
    return refs, content


def _read_together(info: TypeInfo, obj: Any, refs: list[Any]) -> tuple[list[Any], Content]:
    for _ in range(RETRIES):
        content = read(info, obj, refs)
        if content.plain:
            return refs, content  # whose values they are
        now = referents(obj)
        if identical(now, refs):
            return refs, content
        refs = now
    raise Unsettled


read_with: Callable[[TypeInfo, Any, list[Any]], tuple[list[Any], Content]] = (
    _read_together if PARALLEL else _read_with
)
"""What ``obj`` refers to, and what it holds, both of one instant; ``refs`` is what it has just referred to.

References are what later looks compare, so that content which is of another instant would never be put right.
A thread that runs beside this one gets in between all the time. Raises :class:`Unsettled`.
"""
