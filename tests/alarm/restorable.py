"""State of every kind that a request can leave its mark on."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any


class Slotted:
    __slots__ = ("user",)


class Config:
    user: str = "nobody"


class Own(dict[str, str]):
    pass


class Key:
    def __hash__(self) -> int:
        raise AssertionError("application code was run")


class Meta(type):
    pass


class Managed(metaclass=Meta):
    user = "nobody"


def _cell() -> tuple[Any, Any]:
    value = "nobody"

    def put(new: str) -> None:
        nonlocal value
        value = new

    return put, lambda: value


LIST = ["a"]
DICT: dict[Any, Any] = {"a": 1, "b": 2}
SET = {"a"}
DEQUE = deque(["a"], maxlen=3)
ORDERED = OrderedDict(a=1, b=2)
DEFAULT: defaultdict[str, list[str]] = defaultdict(list)
COUNTS = Counter(a=1)
NAME: Any = "nobody"
CONFIG = Config()
BYTES = bytearray(b"a")
OWN = Own()
ODD: dict[Any, Any] = {}
SLOTTED = Slotted()
SLOTTED.user = "nobody"
put, get = _cell()
EXEMPT: dict[str, str] = {}
