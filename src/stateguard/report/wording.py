"""Numbers in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.leak import Leak


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 file``, ``2,000 files``, ``2 processes``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def suspects(leak: Leak) -> str:
    """How many requests may have done it: ``2 requests``, ``about 743 requests``."""
    about = "" if leak.suspect_count_exact else "about "
    return about + counted(leak.suspect_count, "request")
