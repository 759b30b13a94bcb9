"""What is kept between runs: the facts of every file by its content, and the result of the whole program.

JSON, never pickle: a cache directory may have come with the code that is audited.
"""

from __future__ import annotations

import json
import os
import tempfile
from hashlib import blake2b
from pathlib import Path

from stateguard._version import __version__
from stateguard.audit.facts import FACTS_VERSION

CACHE_DIRECTORY = ".stateguard_cache"


def digest(*parts: bytes | str) -> str:
    """A key for some content, this version of stateguard and this version of the facts."""
    hasher = blake2b(f"{__version__}/{FACTS_VERSION}".encode(), digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


class Cache:
    """Two files in one directory. A damaged or unwritable cache is a cache that has nothing."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._facts: dict[str, str] | None = None
        self._kept: dict[str, str] = {}

    def result(self, key: str) -> str | None:
        """The stored result of a program with this key."""
        text = self._read("result.json")
        head, _, body = text.partition("\n")
        return body if head == key and body else None

    def store_result(self, key: str, body: str) -> None:
        """Keep the result of a program."""
        self._write("result.json", f"{key}\n{body}")

    def facts(self, key: str) -> str | None:
        """The stored facts of a file with this key."""
        if self._facts is None:
            self._facts = {}
            for line in self._read("facts.jsonl").split("\n"):
                known, tab, body = line.partition("\t")
                if tab:
                    self._facts[known] = body
        found = self._facts.get(key)
        if found is not None:
            self._kept[key] = found
        return found

    def store_facts(self, key: str, body: str) -> None:
        """Keep the facts of a file until :meth:`save`."""
        self._kept[key] = body

    def save(self) -> None:
        """Write the facts that this run used; what it did not use is dropped."""
        if self.directory is not None and self._kept != self._facts:
            self._write("facts.jsonl", "".join(f"{key}\t{body}\n" for key, body in self._kept.items()))

    def _read(self, name: str) -> str:
        if self.directory is None:
            return ""
        try:
            return (self.directory / name).read_text("utf-8")
        except (OSError, ValueError):
            return ""

    def _write(self, name: str, text: str) -> None:
        if self.directory is None:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            marker = self.directory / ".gitignore"
            if not marker.exists():
                marker.write_text("*\n")
            handle, temporary = tempfile.mkstemp(dir=self.directory)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, self.directory / name)
        except (OSError, ValueError):
            return


def parse_json(text: str) -> object:
    """JSON from the cache, ``None`` when it is damaged."""
    try:
        return json.loads(text)
    except ValueError:
        return None
