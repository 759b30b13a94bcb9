"""Which block an object lies in, by the object's address, in a third of the memory that a dictionary takes.

An address is an integer of 32 bytes for the dictionary to hold, besides its entry. Divided into a page and a
place in it, the places are small integers, of which the interpreter has one each, and the pages few: objects
of one size lie side by side.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stateguard.watch.block import Block

PAGE = 12
"""Bits of an address within a page. No object is smaller than 16 bytes, so there are 256 places in one: the
integers that CPython keeps ready end at 256."""

_PLACES = 255


class Index:
    """A mapping of ids to blocks."""

    __slots__ = ("_count", "_pages")

    def __init__(self) -> None:
        self._pages: dict[int, dict[int, Block]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: int) -> bool:
        page = self._pages.get(key >> PAGE)
        return page is not None and (key >> 4) & _PLACES in page

    def __iter__(self) -> Iterator[int]:
        """The ids, to the 16 bytes below them."""
        for number, page in self._pages.items():
            for place in page:
                yield (number << PAGE) + (place << 4)

    def get(self, key: int) -> Block | None:
        """The block of that object, or ``None``."""
        page = self._pages.get(key >> PAGE)
        return None if page is None else page.get((key >> 4) & _PLACES)

    def __setitem__(self, key: int, block: Block) -> None:
        page = self._pages.get(key >> PAGE)
        if page is None:
            page = self._pages[key >> PAGE] = {}
        before = len(page)
        page[(key >> 4) & _PLACES] = block
        self._count += len(page) - before

    def pop(self, key: int) -> Block | None:
        """Forget an object; the block it lay in, or ``None``."""
        page = self._pages.get(key >> PAGE)
        if page is None:
            return None
        block = page.pop((key >> 4) & _PLACES, None)
        if block is not None:
            self._count -= 1
            if not page:
                del self._pages[key >> PAGE]
        return block

    def memory(self) -> int:
        """Bytes it takes, about: measured on some of the pages."""
        pages = list(self._pages.values())
        sample = pages[:: max(1, len(pages) // 100)]
        size = sum(map(sys.getsizeof, sample)) * len(pages) // max(1, len(sample))
        return size + sys.getsizeof(self._pages) + 32 * len(pages)
