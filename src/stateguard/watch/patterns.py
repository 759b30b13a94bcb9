"""Which modules and names a watch means: ``"myapp"``, ``"myapp.*"``, ``"myapp.chat:HISTORY"``."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
import types
from fnmatch import translate
from functools import lru_cache
from re import compile as compile_pattern
from typing import TYPE_CHECKING, Any

from stateguard.aside import allowed_to_block
from stateguard.errors import WatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Names:
    """A set of names given by globs (``*`` and ``?``), or by what it leaves out."""

    __slots__ = ("_matches", "globs")

    def __init__(self, globs: Iterable[str]) -> None:
        self.globs = tuple(globs)
        left_out = frozenset(glob[1:] for glob in self.globs if glob.startswith("-"))
        wanted = [glob_match(glob) for glob in self.globs if not glob.startswith("-")]

        @lru_cache(maxsize=4096)
        def matches(name: str) -> bool:
            return name not in left_out and (not wanted or any(match(name) for match in wanted))

        self._matches = matches

    def __contains__(self, name: object) -> bool:
        return type(name) is str and self._matches(name)


def glob_match(glob: str) -> Callable[[str], bool]:
    """A matcher for ``*`` and ``?``; brackets stand for themselves, as paths are full of them."""
    if "*" not in glob and "?" not in glob:
        return glob.__eq__
    match = compile_pattern(translate(glob.replace("[", "[[]"))).match
    return lambda text: match(text) is not None


class Pattern:
    """One entry of ``watch``."""

    __slots__ = ("module", "names", "text")

    def __init__(self, text: str, module: str, names: Names | None) -> None:
        self.text = text
        self.module = module
        self.names = names

    def matches(self, module: str) -> bool:
        """Whether the pattern means this module."""
        return _module_match(self.module)(module)


@lru_cache(maxsize=256)
def _module_match(glob: str) -> Callable[[str], bool]:
    return glob_match(glob)


def parse(text: str) -> Pattern:
    """Read one pattern. Raises :class:`WatchError` when it cannot be one."""
    module, colon, name = text.strip().partition(":")
    if not module or (colon and not name) or any(c.isspace() for c in module):
        raise WatchError(
            f"watch pattern {text!r} is not of the form 'package.module', 'package.*' or "
            "'package.module:NAME'",
            text,
        )
    return Pattern(text, module, Names([name]) if colon else None)


def validate(pattern: Pattern) -> None:
    """Raise :class:`WatchError`, with near matches, when no module can ever match the pattern."""
    fixed = pattern.module.split("*")[0].split("?")[0].rstrip(".")
    if "*" in pattern.module and not fixed:
        return
    exact = "*" not in pattern.module and "?" not in pattern.module
    if any(pattern.matches(name) for name in sys.modules):
        return
    if exact:
        if _exists(fixed):
            return
    elif pattern.module.endswith(".*") and "*" not in pattern.module[:-2] and "?" not in pattern.module:
        if _exists(fixed) and _is_package(fixed):
            return
    else:
        return  # a glob in the middle: cannot be known before everything is imported
    candidates = [*{*sys.modules, *(name for path in sys.path[:3] for name in _modules_in(path))}]
    import difflib  # for the message only

    near = difflib.get_close_matches(fixed, candidates, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    kind = "package with submodules" if not exact else "module"
    raise WatchError(
        f"watch pattern {pattern.text!r} matches nothing: there is no {kind} named {fixed!r} "
        f"(searched sys.modules and sys.path).{hint}",
        pattern.text,
        near,
    )


def check_names(pattern: Pattern, modules: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Raise :class:`WatchError` when a ``module:NAME`` pattern names nothing in its imported modules."""
    if pattern.names is None:
        return
    known: list[str] = []
    for _, names in modules:
        if any(name in pattern.names for name in names):
            return
        known.extend(names)
    if not known:
        return  # not imported yet
    wanted = pattern.names.globs[0]
    import difflib  # for the message only

    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise WatchError(
        f"watch pattern {pattern.text!r} matches nothing: module {pattern.module!r} has no global "
        f"named {wanted!r}.{hint}",
        pattern.text,
        near,
    )


def _exists(name: str) -> bool:
    """Whether a module could be imported, found out without importing any package."""
    path: Sequence[str] | None = None
    parts = name.split(".")
    if parts[0] in sys.modules:
        path = getattr(sys.modules[parts[0]], "__path__", None)
        if len(parts) == 1:
            return True
    else:
        try:
            spec = importlib.util.find_spec(parts[0])
        except (ImportError, ValueError):
            return False
        if spec is None:
            return False
        path = spec.submodule_search_locations
    for i in range(1, len(parts)):
        if path is None:
            return False
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: i + 1]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


def _is_package(name: str) -> bool:
    module = sys.modules.get(name)
    if module is not None:
        return hasattr(module, "__path__")
    parent, _, last = name.rpartition(".")
    if parent:
        return _exists(name)
    spec = importlib.util.find_spec(last)
    return spec is not None and spec.submodule_search_locations is not None


def _modules_in(path: str) -> list[str]:
    try:
        entries = os.listdir(path or ".")
    except OSError:
        return []
    return [
        e.removesuffix(".py")
        for e in entries
        if e.endswith(".py") or os.path.isdir(os.path.join(path or ".", e))
    ]


_module_dict: Callable[[Any], dict[str, Any]] = vars(types.ModuleType)["__dict__"].__get__


def _members(module: Any) -> dict[str, Any]:
    """A module's globals, read past any ``__getattr__``; nothing for what only stands in for a module."""
    try:
        return _module_dict(module)
    except TypeError:
        return {}


def _real(file: str) -> str:
    with allowed_to_block():
        return os.path.realpath(file)


# Every guard asks this of every loaded module. A link that changes later does not change what was loaded.
_file_loaded = lru_cache(maxsize=16384)(_real)


def first_party(base: str | None = None) -> Callable[[str], bool]:
    """A predicate: is the module of that name loaded from under ``base`` (default: the working directory)?

    Installed packages, the standard library and stateguard itself are not first-party.
    """
    import sysconfig  # here: those who say what is theirs do not need it

    with allowed_to_block():
        root = os.path.realpath(base or os.getcwd()) + os.sep
        paths = sysconfig.get_paths()
        foreign = tuple(
            os.path.realpath(paths[key]) + os.sep
            for key in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
            if key in paths
        )

    def is_first_party(name: str) -> bool:
        if name.partition(".")[0] == "stateguard":
            return False
        module = sys.modules.get(name)
        file = None if module is None else _members(module).get("__file__")
        if type(file) is not str:
            return False
        file = _file_loaded(file) if os.path.isabs(file) else _real(file)
        if not file.startswith(root) or file.startswith(foreign):
            return False
        parts = file[len(root) :].split(os.sep)
        return not any(part in ("site-packages", "dist-packages") for part in parts)

    return is_first_party
