"""The words of a finding: what a write does, what to do about it."""

from __future__ import annotations

from stateguard.audit.facts import Write

_METHODS = {
    "append": "appends to it",
    "appendleft": "appends to it",
    "add": "adds to it",
    "extend": "extends it",
    "extendleft": "extends it",
    "insert": "inserts into it",
    "update": "updates it",
    "setdefault": "adds to it",
    "pop": "takes from it",
    "popleft": "takes from it",
    "popitem": "takes from it",
    "remove": "removes from it",
    "discard": "removes from it",
    "clear": "empties it",
    "sort": "reorders it",
    "reverse": "reorders it",
    "move_to_end": "reorders it",
    "heappush": "pushes onto it",
    "heappop": "takes from it",
    "shuffle": "reorders it",
}
_OPERATIONS = {
    "item+": "changes an item of it",
    "delitem": "deletes from it",
    "attr": "sets it",
    "attr+": "changes it",
    "delattr": "deletes it",
    "bind": "rebinds it",
    "bind+": "changes it",
    "unbind": "deletes it",
    "iadd": "extends it with `+=`",
    "stored": "stores it where others find it",
    "returned": "returns it",
    "set": "sets it",
}


def does(write: Write, inner: bool) -> str:
    """What a write does: ``appends to it``. ``inner``: to something inside the object."""
    if write.op == "call":
        phrase = _METHODS.get(write.how, f"changes it with `{write.how}`")
        return phrase.replace(" it", " what it holds", 1) if inner else phrase
    if write.op == "item":
        return f"stores `{write.key}` in it" if write.key and write.key != ":" else "stores items in it"
    if inner and write.op in ("attr", "attr+"):
        return "changes what it holds"
    return _OPERATIONS.get(write.op, "changes it")


def function_name(qual: str) -> str:
    """A function as messages name it: ``Agent.ask``, ``create_app.chat``, ``<lambda>``."""
    plain = ".".join(part.partition("@")[0] for part in qual.split("."))
    parts = plain.split(".")
    return ".".join(parts[-2:]) if len(parts) > 1 else plain


def scoped_replacement(source: str, name: str) -> str:
    """``HISTORY = scoped(list)`` for the line ``HISTORY = []``; empty when the line is not that simple."""
    head, equals, value = source.partition("=")
    if not equals or not head.strip().startswith(name):
        return ""
    value = value.partition("  #")[0].strip()
    factory = {"[]": "list", "{}": "dict", "set()": "set", "list()": "list", "dict()": "dict"}.get(value)
    if factory is None and (value[:1] not in "[{" or value[-1:] not in "]}") and not value.endswith(")"):
        return ""
    if factory is None and value.endswith("()"):
        factory = value[:-2]
    return f"{head.rstrip()} = scoped({factory or 'lambda: ' + value})"


def default_replacement(source: str, name: str) -> str:
    """The guard line that replaces a mutable default."""
    value = {"list": "[]", "dict": "{}", "set": "set()"}.get(source, source)
    return f"{name} = {value} if {name} is None else {name}"
