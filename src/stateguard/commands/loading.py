"""Find the application that ``module:attribute`` names, and say what is wrong where that fails."""

from __future__ import annotations

import os
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from stateguard.errors import ConfigError

_USUAL = ("app", "application", "create_app", "make_app")
"""Names that applications and their factories usually have."""


def load(target: str) -> Any:
    """The application that ``module:attribute`` names, or that calling it makes (``module:make_app()``).

    Modules of the working directory can be imported. Raises :class:`~stateguard.errors.ConfigError`.
    """
    module, _, path = target.partition(":")
    if not module or not path:
        raise ConfigError(f"{target!r} is neither an address nor module:attribute, such as myapp:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = _import(module, target)
    owner = f"module {module!r}"
    for name in path.removesuffix("()").split("."):
        found, owner = _attribute(found, name, owner, target), repr(name)
    if not callable(found):
        raise ConfigError(f"{target} is no application: {type(found).__name__} objects cannot be called")
    if not path.endswith("()"):
        return found
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{target} fails: {_what(error)}") from error


def _import(module: str, target: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(f"{module} fails when it is imported: {_what(error)}") from error
        raise ConfigError(
            f"cannot load {target}: there is no module {error.name!r}. Modules are looked for in "
            f"{os.getcwd()} and where {sys.executable} has its packages"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{module} fails when it is imported: {_what(error)}") from error


def _attribute(found: Any, name: str, owner: str, target: str) -> Any:
    try:
        return getattr(found, name)
    except AttributeError as error:
        names = dir(found)
        near = get_close_matches(name, names, n=3) or [one for one in _USUAL if one in names]
        hint = f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ConfigError(f"cannot load {target}: {owner} has no attribute {name!r}{hint}") from error


def _what(error: BaseException) -> str:
    """The error, and the line of the application that raised it."""
    if isinstance(error, SyntaxError):  # says itself where
        return f"{type(error).__name__}: {error}"
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    own = [place for place in places if place.filename.startswith(os.getcwd() + os.sep)] or places
    where = f" ({os.path.relpath(own[-1].filename)}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"
