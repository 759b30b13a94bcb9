"""Reading files to facts, in this process or on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from stateguard.audit.collect import MAX_BYTES, SourceFile, SourceText, read
from stateguard.audit.facts import ModuleFacts
from stateguard.audit.module import read_module

WORTH_PROCESSES = 1_500_000
"""Bytes of source above which starting processes pays off (each costs about 0.1 s to start)."""

OWN_FAULT = "cannot be followed by a fault of stateguard's own"

Item = tuple[SourceFile, bytes | None]


def read_one(item: Item) -> ModuleFacts:
    """The facts of one file."""
    file, data = item
    if data is not None and len(data) > MAX_BYTES:
        source = SourceText("", error="is too large to be source code")
    else:
        source = read(file, data)
    if source.error:
        return ModuleFacts(file.module, file.shown, file.is_package, error=source.error, error_line=1)
    try:
        return read_module(source.text, file.module, file.shown, file.is_package, list(source.cells))
    except Exception as error:  # one file that the walk cannot follow must not stop the others
        problem = f"{OWN_FAULT} ({type(error).__name__}: {error}); please report it"
        return ModuleFacts(file.module, file.shown, file.is_package, error=problem, error_line=1)


def read_all(items: list[Item], jobs: int, progress: Callable[[int, int], None] | None) -> list[ModuleFacts]:
    """The facts of all files, in order. ``jobs`` 0 means all cores, for trees that are worth it.

    ``progress`` is told how many of how many are done, first that none is.
    """
    size = sum(len(data) for _, data in items if data)
    workers = jobs or (os.cpu_count() or 1)
    total = len(items)
    found: list[ModuleFacts] = []
    if progress is not None:
        progress(0, total)
    if workers > 1 and size > WORTH_PROCESSES:
        # Fresh interpreters, not forks: the caller may have threads (a progress bar is one).
        with ProcessPoolExecutor(min(workers, total), mp_context=get_context("spawn")) as pool:
            for facts in pool.map(read_one, items, chunksize=max(1, min(16, total // (workers * 4) or 1))):
                found.append(facts)
                if progress is not None:
                    progress(len(found), total)
        return found
    for item in items:
        found.append(read_one(item))
        if progress is not None:
            progress(len(found), total)
    return found
