"""The one-line fix that a leak's message suggests."""

from __future__ import annotations

_CONTAINERS = frozenset({"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "Counter"})
_CONTENT_KINDS = frozenset(
    {"appended", "inserted", "removed", "cleared", "added", "replaced", "reordered"},
)
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
    container = before.partition(" of ")[0]
    if kind in _CONTENT_KINDS and container in _CONTAINERS:
        return f"make it per request: `{name} = scoped({container})`, or keep it in `session()`"
    if "()" in path or kind.startswith("attribute"):
        return "keep per-request values off shared objects: use `session()`, or make the object per request"
    return f"make it per request: `{name} = scoped(...)`, RequestVar, or keep it in `session()`"
