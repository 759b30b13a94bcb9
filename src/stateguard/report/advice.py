"""The one-line fix that a leak's message suggests."""

from __future__ import annotations

import re

from stateguard.watch.paths import ENUM_MEMBER

_CONTAINERS = frozenset({"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "Counter"})
_SIMPLE = frozenset(
    {"list", "dict", "set", "deque", "OrderedDict", "Counter", "bytearray", "StringIO", "BytesIO"}
)
"""Types that make an empty object when called with nothing."""
_EMPTY = {"dict": "{}", "set": "set()", "deque": "deque()", "OrderedDict": "OrderedDict()"}
_CONTENT_KINDS = frozenset(
    {"appended", "inserted", "removed", "cleared", "added", "replaced", "reordered"},
)
_CLIENT = r"\._?(custom_)?(headers|addheaders|cookies|auth|params|query|api_key|auth_token)\b"
_CREDENTIALS = frozenset({"api_key", "auth_token"})
_CLASS = r"\.[A-Z][A-Z0-9]*[a-z]\w*\.\w+\Z"
_CLOSURE = r"\(nonlocal (\w+)\)"
_SETTINGS = ("os.", "sys.", "logging.", "warnings.", "locale.", "signal.")
_CODE = r"(\A|new: )(function|method|class) "
PATTERNS = (_CLIENT, _CLASS, _CLOSURE, _CODE)


def advise(path: str, root: str, kind: str, before: str, after: str = "", holder: str = "") -> str:
    """How to cure a change of ``kind`` at ``path``.

    ``before`` and ``after`` are the previews of what was there and is there, ``holder`` the type of the
    object that the root names, where that is known.
    """
    return _for_place(path, root, kind, before, holder) or _for_value(path, root, kind, before, after, holder)


def _for_place(path: str, root: str, kind: str, before: str, holder: str) -> str:
    name = root.rpartition(".")[2] or root
    if name.endswith("=)") and "default=" not in name:
        parameter = name[name.index("(") + 1 : -2]
        empty = _EMPTY.get(holder or before.partition(" of ")[0], "[]")
        return f"default to None and make the object inside: `if {parameter} is None: {parameter} = {empty}`"
    if "(default=)" in path:
        return (
            "a ContextVar's default is shared by everybody: set() a fresh one per request, or use RequestVar"
        )
    if "(inherited value)" in path:
        return (
            "every request inherits the object that was set before the first one began: "
            "set() a fresh one per request, or use RequestVar"
        )
    if "(cached result)" in path:
        return "every caller gets the same cached object: return a tuple, or a copy, from the cached function"
    closure = re.search(_CLOSURE, path)
    if closure is not None:
        return (
            f"the closure is made once, so `{closure[1]}` is one for every caller: keep it in `session()`, "
            "or make the closure per request"
        )
    if kind == "left behind":
        return "reset it in a `finally`, or keep it in `session()`, which ends with the request"
    if kind == "setting changed" or root.startswith(_SETTINGS):
        return "settings belong to the process: set them at start-up, pass per-request values as arguments"
    of_client = path.removeprefix(root)
    if not of_client and (kind.startswith("attribute") or name in _CREDENTIALS):
        of_client = f".{name}"
    if re.search(_CLIENT, of_client):
        return (
            "a client's own headers and credentials go out with everybody's calls: pass them with the call "
            "(`headers=`, `extra_headers=`, `auth=`), or make a client per request"
        )
    return ""


def _for_value(path: str, root: str, kind: str, before: str, after: str, holder: str) -> str:
    name = root.rpartition(".")[2] or root
    if holder.endswith("Queue"):
        return (
            "what one request puts here, any other may take: make a queue per request; if workers drain it, "
            "allow it"
        )
    if holder in {"generator", "async_generator"}:
        return "a generator keeps its local variables between calls: make one per request"
    replaced = kind in ("rebound", "attribute set", "replaced")
    if re.search(_CODE, after) or (replaced and re.search(_CODE, before)):
        return (
            "code put here runs for everybody: do it once, at start-up, and hand it what differs as an "
            "argument or through `session()`"
        )
    if holder == ENUM_MEMBER:
        return "an enum's members are one for everybody: keep what a request adds in `session()`"
    if kind == "buffer changed" and holder not in _SIMPLE:
        return "copy it before writing to it, or make it per request"
    if kind == "rebound":
        return (
            f"a global name is one for everybody: keep it in `session()` (`session().{_plain(name)} = ...`)"
        )
    container = before.partition(" of ")[0]
    if path == root and kind in _CONTENT_KINDS and container in _CONTAINERS:
        per_request = f"make it per request: `{name} = scoped({_factory(container)})`"
        if re.search(_CLASS, root):
            own = f"set `self.{name} = ...` in `__init__`"
            return f"all instances share a class attribute: {own}, or {per_request}"
        return f"{per_request}, or keep it in `session()`"
    if path != root and re.search(_CLASS, root):
        return (
            "what a class holds is one for everybody: keep it on `self`, in `session()`, or in a RequestVar"
        )
    if "()" in path or kind.startswith("attribute"):
        if path == root and re.search(_CLASS, root):
            return (
                "all instances share a class attribute: keep it on `self`, in `session()`, or in a RequestVar"
            )
        return "keep per-request values off shared objects: use `session()`, or make the object per request"
    return f"make it per request: `{name} = scoped({_factory(holder)})`, or keep it in `session()`"


def _factory(type_name: str) -> str:
    """What to hand to ``scoped``: a callable that makes a fresh object of that type."""
    if type_name in _SIMPLE:
        return type_name
    return f"lambda: {type_name}(...)" if type_name.isidentifier() and type_name != "tuple" else "..."


def _plain(name: str) -> str:
    """A global's name as the name of an attribute."""
    return name.lower().strip("_") if name.isidentifier() else name
