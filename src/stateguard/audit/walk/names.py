"""The names the walk knows: mutating methods, container constructors, functions that pass objects on."""

from __future__ import annotations

CERTAIN_MUTATORS = frozenset(
    {
        "append", "appendleft", "extend", "extendleft", "insert", "setdefault", "popitem", "popleft",
        "__setitem__", "__delitem__", "difference_update", "intersection_update",
        "symmetric_difference_update", "move_to_end", "__iadd__", "__ior__", "__imul__", "__iand__",
        "__isub__", "__ixor__",
    }
)  # fmt: skip
"""Method names that only containers have: they count even where the receiver's type is not known."""

POSSIBLE_MUTATORS = frozenset(
    {"add", "clear", "discard", "pop", "remove", "reverse", "rotate", "sort", "update", "write", "fromlist"}
)
"""Method names that other objects have too (a database session, an HTTP client): they count where the
receiver is known to be a container."""

MUTATORS = CERTAIN_MUTATORS | POSSIBLE_MUTATORS

REMOVERS = frozenset({"pop", "popitem", "popleft", "remove", "discard", "clear", "__delitem__", "del"})

FIRST_ARGUMENT_MUTATORS = frozenset(
    {
        "heappush", "heappop", "heapify", "heapreplace", "heappushpop", "insort", "insort_left",
        "insort_right", "shuffle", "setitem", "delitem",
    }
)  # fmt: skip
"""Functions (of ``heapq``, ``bisect``, ``random``, ``operator``) that change the object given first."""

CONTAINER_CALLS = {
    "list": "list",
    "dict": "dict",
    "set": "set",
    "bytearray": "bytearray",
    "deque": "deque",
    "defaultdict": "dict",
    "OrderedDict": "dict",
    "Counter": "dict",
    "ChainMap": "dict",
    "UserDict": "dict",
    "UserList": "list",
    "array": "array",
    "WeakValueDictionary": "weak",
    "WeakKeyDictionary": "weak",
    "WeakSet": "weak",
}
"""Constructors of mutable containers, by their last name, and the kind they make."""

HANDOVERS = {
    "to_thread": 0, "run_sync": 0, "run_in_threadpool": 0, "submit": 0, "add_task": 0, "call_soon": 0,
    "call_soon_threadsafe": 0, "start_soon": 0, "spawn": 0, "start_new_thread": 0, "partial": 0,
    "partialmethod": 0, "defer": 0, "deferToThread": 0, "apply_async": 0, "run_in_executor": 1,
    "call_later": 1, "call_at": 1, "Thread": 9, "Timer": 1, "Process": 9, "Greenlet": 0,
}  # fmt: skip
"""Callables that call the function they are given, with the arguments after it; and where it stands."""

RETURNING_HANDOVERS = frozenset({"to_thread", "run_sync", "run_in_threadpool", "run_in_executor"})
"""Those whose (awaited) result is the function's."""

LATER = frozenset({"partial", "partialmethod"})
"""Those that only bind: the function runs when somebody calls the result."""

PASSED_ON = frozenset(
    {"sync_to_async", "async_to_sync", "ensure_sync", "wait_for", "shield", "ensure_future", "create_task",
     "copy_current_request_context", "stream_with_context"}
)  # fmt: skip
"""Callables whose (awaited) result is their first argument, or runs it."""

DISPLAY_KINDS = {"n:list": "list", "n:dict": "dict", "n:set": "set"}

SHALLOW_COPIES = frozenset({"list", "dict", "set", "sorted", "tuple", "reversed", "iter", "frozenset"})
"""Builtins whose result is new but holds the same members."""

ANNOTATION_KINDS = {
    "list": "list", "List": "list", "MutableSequence": "list", "dict": "dict", "Dict": "dict",
    "MutableMapping": "dict", "DefaultDict": "dict", "defaultdict": "dict", "OrderedDict": "dict",
    "Counter": "dict", "set": "set", "Set": "set", "MutableSet": "set", "deque": "deque", "Deque": "deque",
    "bytearray": "bytearray", "WeakValueDictionary": "weak", "WeakKeyDictionary": "weak", "WeakSet": "weak",
}  # fmt: skip

CLASS_VARIABLE = "ClassVar."
"""What the annotation of a class variable begins with: it is no field of a dataclass or model."""

REQUEST_PROXIES = frozenset({"request", "session", "current_user", "g", "websocket", "current_app"})
"""Names under which frameworks offer what belongs to the current request."""

LOCK_WORDS = ("lock", "mutex", "semaphore", "_sem", "condition")


def container_kind(refs: tuple[str, ...]) -> str:
    """The container kind of a value, or an empty string: displays, comprehensions, constructor calls."""
    for ref in refs:
        kind = DISPLAY_KINDS.get(ref)
        if kind:
            return kind
        if ref.endswith(")"):
            name = ref[: ref.rindex("(")].replace(":", ".").rpartition(".")[2]
            kind = CONTAINER_CALLS.get(name)
            if kind:
                return kind
    return ""


def is_lock(name: str) -> bool:
    """Whether a name reads like a lock: ``with history_lock:``."""
    lowered = name.lower()
    return any(word in lowered for word in LOCK_WORDS)
