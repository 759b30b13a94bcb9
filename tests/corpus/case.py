"""What is true of one reproduction: written down as data before anything is measured."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

APPS = "tests.corpus.apps"


@dataclass(frozen=True, slots=True)
class Req:
    """One request of a script. ``during`` are served, one after the other, while this one is held."""

    id: str
    target: str
    guilty: bool = False
    during: tuple[Req, ...] = ()
    sends: tuple[str, ...] | None = None
    """Texts sent over a websocket, then it is closed; ``None`` for an HTTP request."""

    def again(self, prefix: str) -> Req:
        """The same request under another id."""
        return replace(self, id=prefix + self.id, during=tuple(inner.again(prefix) for inner in self.during))

    def all(self) -> list[Req]:
        """This request and those inside it."""
        return [self, *(inner for request in self.during for inner in request.all())]


@dataclass(frozen=True, slots=True)
class Truth:
    """One leak: ``path`` is a glob (``*`` only) on the reported path, ``marker`` the comment on its lines."""

    path: str
    marker: str = "LEAK"
    no_line: str = ""
    """Why no line can be told: nobody looks at this kind of state after each line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One application and what a perfect tool says of it."""

    name: str
    source: str
    protocol: Literal["asgi", "wsgi"]
    kind: Literal["leak", "harmless"]
    script: tuple[Req, ...]
    truths: tuple[Truth, ...] = ()
    module: str = ""
    """Below ``tests.corpus.apps``; by default the name of the case."""
    warm: tuple[str, ...] | Literal["script"] = ()
    """Requested before anybody looks, as harmless writes are 'once warm': targets, or the whole script."""
    shape: str = ""
    """How a mirror image differs from its original, in a few words."""
    carrier: str = ""
    """How the request's code comes to run, where the application is made around :attr:`deed`."""
    deed: str = ""
    """The function of the module that a guilty request calls; see :mod:`tests.corpus.carriers`."""
    beside: tuple[str, ...] = field(default=())
    """Globs of further paths that the same guilty requests rightly change."""

    @property
    def module_name(self) -> str:
        return f"{APPS}.{self.module or self.name}"

    @property
    def watch(self) -> list[str]:
        """The watch patterns: the application's module, or its package with all its modules."""
        package = bool(source_files(self.module_name)[1:])
        return [self.module_name, self.module_name + ".*"] if package else [self.module_name]

    @property
    def warm_up(self) -> list[Req]:
        """What is served before anybody looks."""
        if self.warm == "script":
            return [request.again("warm-") for request in self.script]
        return [Req(f"warm-{n}", target) for n, target in enumerate(self.warm)]

    @property
    def requests(self) -> list[Req]:
        return [inner for request in self.script for inner in request.all()]

    @property
    def guilty(self) -> frozenset[str]:
        """Ids of the requests that write."""
        return frozenset(request.id for request in self.requests if request.guilty)

    @property
    def innocent(self) -> frozenset[str]:
        """Ids of the requests that do not."""
        return frozenset(request.id for request in self.requests) - self.guilty

    def lines(self, truth: Truth) -> frozenset[tuple[str, int]]:
        """``(file, line)`` of every source line that carries the truth's marker."""
        found = marked_lines(self.module_name, truth.marker)
        if not found:
            raise LookupError(f"{self.name}: no line is marked '# {truth.marker}'")
        return found


@cache
def source_files(module: str) -> list[Path]:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    return sorted(origin.parent.glob("*.py")) if spec.submodule_search_locations is not None else [origin]


@cache
def marked_lines(module: str, marker: str) -> frozenset[tuple[str, int]]:
    """Lines of the module, or of all modules of the package, that end in the marker."""
    end = re.compile(rf"#\s*{re.escape(marker)}\s*$")
    return frozenset(
        (str(file), number)
        for file in source_files(module)
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if end.search(line)
    )


def matches(glob: str, path: str) -> bool:
    """Whether ``path`` is what the glob means; only ``*`` is special."""
    return re.fullmatch(".*".join(map(re.escape, glob.split("*"))), path, re.DOTALL) is not None


def overlapping(guilty: str, innocent: str, sends: tuple[str, ...] | None = None) -> tuple[Req, ...]:
    """The usual script: an innocent request around a guilty one, the reverse, and a guilty one alone.

    ``{user}`` in ``guilty`` is a different name each time. ``sends`` makes the guilty ones websockets.
    """

    def culprit(n: int, *during: Req) -> Req:
        user = ("ann-0a51", "bob-7c22", "cyd-93fe")[n - 1]
        return Req(f"guilty-{n}", guilty.replace("{user}", user), True, during, sends)

    return (
        Req("innocent-1", innocent, during=(culprit(1),)),
        culprit(2, Req("innocent-2", innocent)),
        culprit(3),
    )


def mingled(first: str, second: str) -> tuple[Req, ...]:
    """The script of a harmless case: nobody is guilty, everybody overlaps."""

    def target(text: str, user: str) -> str:
        return text.replace("{user}", user)

    return (
        Req("a-1", target(first, "ann-0a51"), during=(Req("b-1", target(second, "bob-7c22")),)),
        Req("b-2", target(second, "cyd-93fe"), during=(Req("a-2", target(first, "dan-11b8")),)),
        Req("a-3", target(first, "ann-0a51")),
    )
