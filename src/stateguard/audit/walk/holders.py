"""What a function puts into a new container: ``{"messages": HISTORY}`` is new, its member is not.

A display with members that may be somebody else's is kept as a *holder* of the function, and the display's
references get one more alternative, ``h:3``, its number.
"""

from __future__ import annotations

import ast
from typing import Any

from stateguard.audit.facts import Refs
from stateguard.audit.walk.walker import UNKNOWN, Walker, join

ANY = "*"
"""The key under which members with a computed key are kept."""
MAX_MEMBERS = 24
MAX_HOLDERS = 200

_TRACEABLE = "gmpfh"


def traceable(refs: Refs) -> Refs:
    """The alternatives that may be an object that others see too."""
    return tuple(r for r in refs if r[0] in _TRACEABLE and r[-1] not in "~+#")


def hold(w: Walker, kind: str, members: list[tuple[str, Refs]]) -> Refs:
    """The references of a display. ``members`` maps constant keys (as source) to what is put there."""
    if w.kind != "function" or len(w.fn.holders) >= MAX_HOLDERS:
        return ("n:" + kind,)
    kept: dict[str, list[str]] = {}
    for key, refs in members[:MAX_MEMBERS]:
        found = traceable(refs)
        if found:
            kept.setdefault(key, []).extend(found)
        elif refs[0][0] in "n?":
            kept.setdefault(key, []).append("?")
    if not any(ref != "?" for refs in kept.values() for ref in refs):
        return ("n:" + kind,)
    w.fn.holders.append(kept)
    return ("n:" + kind, f"h:{len(w.fn.holders) - 1}")


def member(w: Walker, refs: Refs, key: str) -> Refs:
    """What ``container[key]`` may be, for the holders among ``refs``; ``key`` is empty for a computed one."""
    found: Refs = ()
    for ref in refs:
        if ref[:2] == "h:" and ref[2:].isdigit():
            kept = w.fn.holders[int(ref[2:])]
            rows = [kept.get(key, ()), kept.get(ANY, ())] if key else list(kept.values())
            for row in rows:
                found = join(found, tuple(r for r in row if r != "?"))
    return found


def is_holder(ref: str) -> bool:
    """Whether a reference is a display itself, and not one of its members."""
    return ref[:2] == "h:" and ref[2:].isdigit()


def with_member(w: Walker, refs: Refs, found: Refs, key: str) -> Refs:
    """``found``, what is known of an item of ``refs``, and what holders among them say."""
    if all(ref[:2] != "h:" for ref in refs):
        return found
    held = member(w, refs, key)
    if not held:
        return found
    return held if found == UNKNOWN else join(held, found)


def constant_key(node: Any) -> str:
    """A constant key as source, :data:`ANY` for a computed one."""
    return repr(node.value)[:60] if node.__class__ is ast.Constant else ANY
