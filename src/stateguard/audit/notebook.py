"""Notebooks: the code cells as one module, and where each cell's lines went."""

from __future__ import annotations

import json
from typing import Any


def read_notebook(data: bytes) -> tuple[str, tuple[tuple[int, int], ...], str]:
    """``(source, cells, error)``. ``cells`` has, per code cell, its first line in ``source`` and its number.

    Lines that only IPython understands (``%magic``, ``!command``, ``help?``) become blank, so that line
    numbers within a cell stay true. Cells in another language (``%%bash``) are left out.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        return "", (), f"is not a notebook: {error}"
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(cells, list):
        return "", (), "is not a notebook: it has no list of cells"
    lines: list[str] = []
    starts: list[tuple[int, int]] = []
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        starts.append((len(lines) + 1, number))
        lines.extend(_cell_lines(cell))
    return "\n".join(lines) + "\n", tuple(starts), ""


def _cell_lines(cell: dict[str, Any]) -> list[str]:
    source = cell.get("source", "")
    text = "".join(str(part) for part in source) if isinstance(source, list) else str(source)
    lines = text.splitlines() or [""]
    if lines[0].startswith("%%") and not lines[0].startswith(("%%time", "%%capture")):
        return ["" for _ in lines]
    return [_plain(line) for line in lines]


def _plain(line: str) -> str:
    stripped = line.lstrip()
    if stripped.startswith(("%", "!", "?")) or (stripped.endswith("?") and "#" not in stripped):
        # ``pass`` keeps a block whose only statement was a command valid.
        return line[: len(line) - len(stripped)] + "pass" if stripped != line else ""
    return line


def locate(cells: tuple[tuple[int, int], ...] | list[tuple[int, int]], line: int) -> tuple[int, int]:
    """``(cell number, line in the cell)`` of a line of the joined source."""
    found = (0, line)
    for start, number in cells:
        if start > line:
            break
        found = (number, line - start + 1)
    return found
