"""The documentation as the tests read it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])


def blocks(page: str, language: str = "python") -> dict[str, str]:
    """The named code blocks of a page."""
    text = (DOCS / page).read_text("utf-8")
    return dict(re.findall(rf"^```{language} (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def anchors(page: Path) -> set[str]:
    """Explicit ones, and those that headings get."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r"\{#([\w-]+)\}", text))
    for heading in re.findall(r"^#+ (.+?)(?: \{#[\w-]+\})?$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found
