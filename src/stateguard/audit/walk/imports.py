"""Imports, at module level and inside functions, relative ones resolved against the module's name."""

from __future__ import annotations

from typing import Any

from stateguard.audit.walk.walker import Walker


def record_import(w: Walker, node: Any) -> None:
    """``import a.b`` binds ``a``; ``import a.b as c`` binds ``c`` to ``a.b``."""
    for alias in node.names:
        if alias.asname:
            _bind(w, alias.asname, alias.name, node.lineno)
        else:
            top = alias.name.partition(".")[0]
            _bind(w, top, top, node.lineno)


def record_import_from(w: Walker, node: Any) -> None:
    """``from a import b as c`` binds ``c`` to ``a.b``; ``from a import *`` is kept for linking."""
    source = absolute(w.package, node.module or "", node.level)
    for alias in node.names:
        if alias.name == "*":
            if source not in w.module.stars:
                w.module.stars.append(source)
        else:
            dotted = f"{source}.{alias.name}" if source else alias.name
            _bind(w, alias.asname or alias.name, dotted, node.lineno)


def absolute(package: str, module: str, level: int) -> str:
    """The absolute name of a relative import. Too many dots end at the top package."""
    if not level:
        return module
    parts = package.split(".") if package else []
    if level > 1:
        parts = parts[: max(len(parts) - (level - 1), 0)]
    return ".".join([*parts, module] if module else parts)


def _bind(w: Walker, name: str, dotted: str, line: int) -> None:
    if w.kind == "function" and name not in w.global_names:
        w.bind(name, ("m:" + dotted,), (), line)
        return
    if w.kind == "class":
        w.env[name] = ("m:" + dotted,)
        return
    known = w.module.imports.setdefault(name, [])
    if dotted not in known:
        known.append(dotted)
