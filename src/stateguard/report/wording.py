"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 file``, ``2,000 files``, ``2 processes``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
