"""Which files are audited, what their modules are called, and what they contain."""

from __future__ import annotations

import io
import os
import stat
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from stateguard.audit.notebook import read_notebook
from stateguard.errors import ConfigError

SUFFIXES = (".py", ".pyw", ".ipynb")
MAX_BYTES = 64_000_000
"""Larger files are reported as unreadable: they are data."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to audit. ``shown`` is its path as findings print it, relative to the root where possible."""

    path: Path
    shown: str
    module: str
    is_package: bool


@dataclass(frozen=True, slots=True)
class SourceText:
    """The decoded source. ``cells`` maps notebook cells to lines; ``error`` says why there is none."""

    text: str
    cells: tuple[tuple[int, int], ...] = ()
    error: str = ""


def collect(paths: Iterable[Path], root: Path, exclude: tuple[str, ...]) -> list[SourceFile]:
    """The files below ``paths``, each once. A file that is named itself is taken whatever ``exclude`` says.

    Raises :class:`~stateguard.errors.ConfigError` when a path does not exist.
    """
    found: dict[str, SourceFile] = {}
    is_package = cache(has_marker)  # asked for every directory above every file
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is no file or directory {str(path)!r}")
        files = [path] if path.is_file() else _walk(path, exclude)
        for file in files:
            key = os.path.realpath(file)  # a link is another name of a file, not another file
            if key not in found or (key == os.path.abspath(file) and found[key].path.is_symlink()):
                found[key] = source_file(file, root, is_package)
    return sorted(found.values(), key=lambda one: one.shown)


def _walk(top: Path, exclude: tuple[str, ...]) -> Iterator[Path]:
    exact = {pattern for pattern in exclude if not set(pattern) & set("*?[/")}
    globs = [pattern for pattern in exclude if pattern not in exact]

    def skipped(name: str, relative: str) -> bool:
        return name in exact or any(
            fnmatch(relative, pattern) if "/" in pattern else fnmatch(name, pattern) for pattern in globs
        )

    for directory, names, files in os.walk(top):
        here = os.path.relpath(directory, top).replace(os.sep, "/")
        prefix = "" if here == "." else here + "/"
        names[:] = sorted(n for n in names if not skipped(n, prefix + n))
        for name in sorted(files):
            if name.endswith(SUFFIXES) and not skipped(name, prefix + name):
                yield Path(directory, name)


def has_marker(directory: Path) -> bool:
    """Whether the directory is a package on the disk."""
    return (directory / "__init__.py").is_file()


def source_file(file: Path, root: Path, is_package: Callable[[Path], bool]) -> SourceFile:
    """The file as it is audited. ``is_package`` says which directories are packages."""
    absolute = Path(os.path.abspath(file))
    module = module_name(absolute, root, is_package)
    return SourceFile(file, shown_as(absolute, root), module, file.name == "__init__.py")


def shown_as(file: Path, root: Path) -> str:
    """How findings call an absolute path."""
    try:
        return file.relative_to(root).as_posix()
    except ValueError:
        return file.as_posix()


def module_name(file: Path, root: Path, is_package: Callable[[Path], bool]) -> str:
    """The dotted name under which the file is imported.

    The package begins at the highest directory that has an ``__init__.py``. A file outside any package is
    named after its path below the root, without a leading ``src``: namespace packages and scripts have no
    marker.
    """
    parts = [file.stem] if file.name != "__init__.py" else []
    directory = file.parent
    if is_package(directory):
        while is_package(directory) and directory != directory.parent:
            parts.insert(0, directory.name)
            directory = directory.parent
        return ".".join(parts)
    try:
        above = list(directory.relative_to(root).parts)
    except ValueError:
        above = []
    if above and above[0] in ("src", "lib", "python"):
        above = above[1:]
    return ".".join([*above, *parts]) or file.stem


def decode(data: bytes) -> SourceText:
    """Source bytes as text, by their byte order mark or coding comment, as Python itself decodes them."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except Exception as error:  # the file chooses the codec, and some codecs raise what they like
        return SourceText("", error=f"cannot be decoded: {error}")
    return SourceText(text)


def load(path: Path) -> tuple[bytes | None, str]:
    """The bytes of a file, or ``None`` and why not. Pipes and devices are not opened: reading could block."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None, "is not a regular file"
        if status.st_size > MAX_BYTES:
            return None, "is too large to be source code"
        return path.read_bytes(), ""
    except (OSError, ValueError) as error:
        return None, f"cannot be read: {getattr(error, 'strerror', None) or error}"


def read(file: SourceFile, data: bytes | None = None) -> SourceText:
    """The text of a file, or why there is none. Never raises for what the file contains."""
    if data is None:
        data, problem = load(file.path)
        if data is None:
            return SourceText("", error=problem)
    if file.shown.endswith(".ipynb"):
        text, cells, problem = read_notebook(data)
        return SourceText(text, cells, problem)
    return decode(data)
