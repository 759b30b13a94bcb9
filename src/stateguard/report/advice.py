"""The one-line fix that a leak's message suggests."""

from __future__ import annotations

import re

_CONTAINERS = frozenset({"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "Counter"})
_CONTENT_KINDS = frozenset(
    {"appended", "inserted", "removed", "cleared", "added", "replaced", "reordered"},
)
_CLIENT = re.compile(r"\._?(custom_)?(headers|cookies|auth|params|query|api_key|auth_token)\b")
_CLASS = re.compile(r"\.[A-Z][A-Z0-9]*[a-z]\w*\.\w+\Z")
_SETTINGS = ("os.", "sys.", "logging.", "warnings.", "locale.", "signal.")


def advise(path: str, root: str, kind: str, before: str) -> str:
    """How to cure a change of ``kind`` at ``path``; ``before`` is the preview of what was there."""
    name = root.rpartition(".")[2] or root
    if name.endswith("=)") and "default=" not in name:
        parameter = name[name.index("(") + 1 : -2]
        return f"default to None and make the object inside: `if {parameter} is None: {parameter} = []`"
    if "(default=)" in path:
        return (
            "a ContextVar's default is shared by everybody: set() a fresh one per request, or use RequestVar"
        )
    if "(cached result)" in path:
        return "every caller gets the same cached object: return a tuple, or a copy, from the cached function"
    if kind == "left behind":
        return "reset it in a `finally`, or keep it in `session()`, which ends with the request"
    if kind == "setting changed" or root.startswith(_SETTINGS):
        return "settings belong to the process: set them at start-up, pass per-request values as arguments"
    if _CLIENT.search(path.removeprefix(root)):
        return (
            "a client's own headers and credentials go out with everybody's calls: pass them with the call "
            "(`headers=`, `extra_headers=`, `auth=`), or make a client per request"
        )
    container = before.partition(" of ")[0]
    if path == root and kind in _CONTENT_KINDS and container in _CONTAINERS:
        per_request = f"make it per request: `{name} = scoped({container})`"
        if _CLASS.search(root):
            own = f"set `self.{name} = ...` in `__init__`"
            return f"all instances share a class attribute: {own}, or {per_request}"
        return f"{per_request}, or keep it in `session()`"
    if "()" in path or kind.startswith("attribute"):
        return "keep per-request values off shared objects: use `session()`, or make the object per request"
    return f"make it per request: `{name} = scoped(...)`, RequestVar, or keep it in `session()`"
