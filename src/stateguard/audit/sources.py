"""Source lines of the audited files, read when a finding needs them."""

from __future__ import annotations

from stateguard.audit.collect import SourceFile, read
from stateguard.audit.notebook import locate

CONTEXT_LINES = 2
MAX_FRAME = 7


class Sources:
    """Lines by file and number, as findings print them."""

    def __init__(self, contents: list[tuple[SourceFile, bytes | None]]) -> None:
        self._contents = {file.shown: (file, data) for file, data in contents}
        self._lines: dict[str, list[str]] = {}
        self._cells: dict[str, tuple[tuple[int, int], ...]] = {}

    def _load(self, shown: str) -> list[str]:
        lines = self._lines.get(shown)
        if lines is None:
            file, data = self._contents[shown]
            source = read(file, data)
            lines = self._lines[shown] = source.text.splitlines()
            self._cells[shown] = source.cells
        return lines

    def line(self, shown: str, number: int) -> str:
        """One line, empty when there is none."""
        lines = self._load(shown)
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def column(self, shown: str, line: int, offset: int) -> int:
        """A byte offset of the syntax tree as a column that counts characters from 1."""
        text = self.line(shown, line)
        if text.isascii():
            return offset + 1
        return len(text.encode()[:offset].decode(errors="ignore")) + 1

    def frame(self, shown: str, line: int, end_line: int) -> tuple[tuple[int, str], ...]:
        """The lines around a place, at most :data:`MAX_FRAME`."""
        lines = self._load(shown)
        first = max(line - CONTEXT_LINES, 1)
        last = min(max(end_line, line) + 1, len(lines), first + MAX_FRAME - 1)
        return tuple((number, lines[number - 1][:400]) for number in range(first, last + 1))

    def cell(self, shown: str, line: int) -> str:
        """``cell 3, line 2`` for notebooks, else empty."""
        self._load(shown)
        cells = self._cells.get(shown)
        if not cells:
            return ""
        number, within = locate(cells, line)
        return f"cell {number}, line {within}"
