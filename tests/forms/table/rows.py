"""How a row of the table is written."""

from __future__ import annotations

from tests.forms.form import Expect, Form


class Rows:
    """Collects the rows of one module of the table."""

    def __init__(self) -> None:
        self.forms: list[Form] = []

    def __call__(
        self,
        group: str,
        name: str,
        setup: str,
        change: str,
        *expects: tuple[str, str] | tuple[str, str, str],
        undo: str = "",
    ) -> None:
        """Add a row: ``expects`` hold kinds (``a|b``), a path, and what the previews must hold."""
        said = tuple(
            Expect(tuple(expect[0].split("|")), expect[1], expect[2] if len(expect) == 3 else "")
            for expect in expects
        )
        self.forms.append(Form(group, name, setup, change, said, undo))
