"""Process settings: state that every request shares and that no module of the application owns."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stateguard.watch.edges import Anchor
from stateguard.watch.kinds import Kind, TypeInfo
from stateguard.watch.patterns import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.watch.graph import Graph

_SYS = Names(["path", "stdout", "stderr", "excepthook", "meta_path"])
_WARNINGS = Names(["filters", "showwarning", "formatwarning"])
_LOGGER = Names(["level", "handlers", "filters", "disabled", "propagate"])


def add_process_roots(graph: Graph) -> None:
    """Watch the environment, the import path, warnings filters and loggers."""
    environment = getattr(os.environ, "_data", None)
    if type(environment) is dict:
        graph.add_root(environment, Anchor("os.environ"))
    graph.add_root(vars(sys), Anchor("sys", namespace=True), TypeInfo(dict, Kind.DICT, only=_SYS))
    graph.add_root(
        vars(warnings),
        Anchor("warnings", namespace=True),
        TypeInfo(dict, Kind.DICT, only=_WARNINGS),
        cold=True,
    )
    loggers: dict[str, Any] = {"": logging.root}
    loggers.update(logging.root.manager.loggerDict)
    for name, logger in sorted(loggers.items()):
        if isinstance(logger, logging.Logger) and not name.startswith("stateguard"):
            label = f"logging.getLogger({name!r})" if name else "logging.root"
            # The logger, not its dictionary: on CPython 3.13 only the logger itself refers to its attributes.
            info = graph.table.expanded(type(logger)).limited(_LOGGER)
            graph.add_root(logger, Anchor(label), info, cold=True)


# The C functions: the public ones turn every number into an enum member, ten times slower, and `os.getcwd` is
# one of the calls that tools against blocking calls on an event loop replace.
_getcwd: Callable[[], str] = getattr(sys.modules.get("posix"), "getcwd", os.getcwd)


def _in_c(name: str) -> Any:
    """The part in C of a module of the standard library, which takes less to import; else the module."""
    try:
        return import_module(f"_{name}")
    except ImportError:
        return import_module(name)


_signal = _in_c("signal")
_getsignal: Callable[[int], Any] = _signal.getsignal
_SIGNALS = sorted(map(int, _signal.valid_signals() - {_signal.SIGINT}))
"""All but SIGINT: ``asyncio.run`` and ``trio.run`` set and restore its handler around each run."""

_locale = _in_c("locale")
_setlocale: Callable[[int, None], str] = _locale.setlocale


def settings() -> dict[str, Any]:
    """The settings that are not objects, by the expression that reads them."""
    found: dict[str, Any] = {}
    try:
        found["os.getcwd()"] = _getcwd()
    except OSError:
        found["os.getcwd()"] = None
    found["locale.setlocale(locale.LC_ALL)"] = _setlocale(_locale.LC_ALL, None)
    for number, handler in zip(_SIGNALS, map(_getsignal, _SIGNALS), strict=True):
        if handler != 0 if type(handler) is int else handler is not None:
            found[f"signal.getsignal({number})"] = handler
    return found
