"""A library: code that no guard in these tests watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def store(where: list[Any], value: Any) -> None:
    where.append(value)


def call_then_store(function: Callable[[], Any], where: list[Any]) -> None:
    where.append(function())


class Store:
    def __init__(self, where: list[Any]) -> None:
        self.where = where

    def put(self, value: Any) -> None:
        store(self.where, value)
