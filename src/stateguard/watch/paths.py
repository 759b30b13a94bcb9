"""Write the way to a node as a person would: ``myapp.chat.HISTORY['u1'][3].cost``.

Keys are shown when they look like names in a program; any other key may be somebody's data and is shown
as its type and hash.
"""

from __future__ import annotations

import re
import types
from contextvars import ContextVar
from enum import Enum
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from stateguard.credentials import looks_like_credential
from stateguard.watch.compare import find
from stateguard.watch.content import cache_table, class_dict
from stateguard.watch.edges import HIDDEN, Anchor
from stateguard.watch.graph import Graph
from stateguard.watch.kinds import Kind, is_a, module_of, mro, namespace, qualname
from stateguard.watch.standin import stands_for

if TYPE_CHECKING:
    from stateguard.watch.content import Content
    from stateguard.watch.digest import Digester
    from stateguard.watch.kinds import TypeInfo

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,39}\Z"
GENERATED = r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}\Z|[0-9a-fA-F]{16,}\Z"
"""What an identifier or a token looks like, and no name that somebody has thought of does."""

PATTERNS = (_NAME, GENERATED)

DEPTH = 1000

ENUM_MEMBER = "enum member"
"""Stands for the type of any member of an enumeration."""


def _is_name(text: str) -> bool:
    """Whether a key looks like a name in a program."""
    return re.match(_NAME, text) is not None and re.match(GENERATED, text) is None


class Paths:
    """Finds and writes paths in one graph."""

    def __init__(self, graph: Graph, digester: Digester, show_values: bool = False) -> None:
        self._graph = graph
        self._digester = digester
        self._show = show_values
        self._lost: Any = None
        """Where the latest way upwards that led to nothing has ended."""

    def locate(self, node: Any) -> tuple[str, str, str] | None:
        """``(path, root, type of what the root names)``; ``None`` if nothing watched leads to the node.

        Where there is no time to look for a new way to what has been moved, it is known by its type.
        """
        found = self._up(node)
        if found is None:  # it was moved, or one of those it was met through
            (lost, self._lost), allowance = (self._lost, None), self._graph.allowance
            until = None if allowance is None else perf_counter_ns() + allowance
            there_is_one = self._graph.ways.find(node, until)
            if there_is_one:
                found = self._up(node)
            elif there_is_one is None and not self._graph.release.is_leaving(lost):
                name = f"{module_of(type(node))}.{qualname(type(node))}(moved)"
                found = name, name, ""
        return found

    def _up(self, node: Any) -> tuple[str, str, str] | None:
        parts: list[str] = []
        label = holder = ""
        seen: set[int] = set()
        while True:
            if id(node) in seen or len(seen) > DEPTH:
                self._lost = node
                return None
            seen.add(id(node))
            parent = self._graph.parent(node)
            if type(parent) is Anchor:
                label = parent.label
                break
            step = None if parent is None else self._step(parent, node)
            if step is None:
                self._lost = node
                return None
            parts.append(step)
            if step:
                holder = ENUM_MEMBER if is_a(node, Enum) else qualname(type(node))
            node = parent
        parts.reverse()
        path = label + "".join(parts)
        first = next((part for part in parts if part), "")
        return path, label + first, holder

    def own_keys(self, node: Any) -> list[Any]:
        """The mapping keys on the way to a node that nothing but this way leads to, nearest first."""
        keys: list[Any] = []
        seen: set[int] = set()
        while id(node) not in seen and not self._graph.is_shared(node):
            seen.add(id(node))
            parent = self._graph.parent(node)
            if parent is None or type(parent) is Anchor:
                break
            known = self._graph.content(parent)
            if known is not None and known[1].keys is not None and not self.is_namespace(parent):
                for key, value in zip(known[1].keys, known[1].values, strict=False):
                    if value is node:
                        keys.append(key)
            node = parent
        return keys

    def parent(self, node: Any) -> Any:
        """The node or anchor through which a node was met."""
        return self._graph.parent(node)

    def is_namespace(self, node: Any) -> bool:
        """Whether a mapping's keys are names: of a module, a class, an instance, a function."""
        parent = self._graph.parent(node)
        if type(parent) is Anchor:
            return parent.namespace
        if parent is None:
            return False
        known = self._graph.content(parent)
        if known is None:
            return False
        info, content = known
        if info.kind is Kind.CLASS:
            return True
        if info.kind is Kind.FUNCTION:
            return node is parent.__dict__
        return content.own is node or any((content.slots or {}).get(name) is node for name in HIDDEN)

    def key(self, key: Any, depth: int = 4) -> str:
        """A mapping's key as it may be shown."""
        if type(key) is str:
            if not looks_like_credential(key) if self._show else _is_name(key):
                return repr(key[:60])
        elif type(key) is bytes:
            text = key.decode("latin-1")
            if not looks_like_credential(key) if self._show else _is_name(text):
                return repr(text[:60])
        elif (
            key is None or type(key) is bool or type(key) is float or (type(key) is int and abs(key) < 10**6)
        ):
            return repr(key)
        elif type(key) is tuple and len(key) <= 4 and depth:
            return "(" + ", ".join(self.key(part, depth - 1) for part in key) + ")"
        return f"<{qualname(type(key))} #{self._digester.digest(key)[:6]}>"

    def item(self, node: Any, key: Any) -> str:
        """How an entry of the mapping ``node`` is written."""
        owner = self._graph.parent(node)
        if type(owner) is types.FunctionType and owner.__kwdefaults__ is node:
            return f"({key}=)"
        if type(key) is str and key.isidentifier() and self.is_namespace(node):
            return f".{key}"
        return f"[{self.key(key)}]"

    def _step(self, parent: Any, child: Any) -> str | None:
        known = self._graph.content(parent)
        if known is None:
            return None
        info, content = known
        if content.own is child or (info.kind is Kind.THROUGH and type(parent) is types.FunctionType):
            return ""
        if info.kind is Kind.CLASS:
            return "" if class_dict(parent) is child else None
        if info.kind is Kind.FUNCTION:
            return _function_step(parent, child)
        if content.keys is not None:
            return self._mapping_step(parent, content, child)
        if info.kind is Kind.CACHE:
            return "" if child is cache_table(content.values) else "(cached result)"
        at = find(content.values, child, 0, len(content.values))
        if at >= 0:
            return self._element_step(parent, info, at)
        for i, value in enumerate(content.values):
            if stands_for(value, child):
                return self._element_step(parent, info, i)
        for name, value in (content.slots or {}).items():
            if stands_for(value, child):
                return "" if name in HIDDEN else f".{name}"
        return None

    def _mapping_step(self, parent: Any, content: Content, child: Any) -> str | None:
        keys, at = content.keys or [], find(content.values, child, 0, len(content.values))
        if 0 <= at < len(keys):
            return self.item(parent, keys[at])
        for key, value in zip(keys, content.values, strict=False):
            if stands_for(value, child):
                return self.item(parent, key)
            if key is child:
                return f"[key {self.key(key)}]"
        return None

    def _element_step(self, parent: Any, info: TypeInfo, i: int) -> str:
        if info.kind in (Kind.LIST, Kind.DEQUE, Kind.BUFFER):
            return f"[{i}]"
        if info.kind is Kind.GENERATOR:
            return f"(local of {parent.__name__})"
        if info.kind is Kind.TUPLE:
            owner = self._graph.parent(parent)
            if type(owner) is types.FunctionType and owner.__defaults__ is parent:
                return f"({default_name(owner, i)}=)"
            name = field_name(type(parent), i)
            return f".{name}" if name else f"[{i}]"
        if info.kind in (Kind.SET, Kind.FROZENSET):
            return "{...}"
        if info.kind is Kind.THROUGH and type(parent) is ContextVar:
            return "(default=)"
        return ""


def default_name(function: types.FunctionType, i: int) -> str:
    """The parameter whose default is the i-th of ``__defaults__``."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    n = len(function.__defaults__ or ())
    position = len(names) - n + i
    return names[position] if 0 <= position < len(names) else f"default {i}"


def field_name(cls: type, i: int) -> str:
    """What a named tuple calls its i-th element, or ``""``."""
    for base in mro(cls):
        fields = namespace(base).get("_fields")
        if type(fields) is tuple and i < len(fields):
            return fields[i] if type(fields[i]) is str else ""
    return ""


def _function_step(function: types.FunctionType, child: Any) -> str | None:
    if child is function.__defaults__ or child is function.__dict__ or child is function.__kwdefaults__:
        return ""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        if cell is child:
            return f"(nonlocal {name})"
    return None
