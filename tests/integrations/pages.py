"""The code blocks of a documentation page, each loaded as a module of its own."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs/frameworks"


def blocks(page: str) -> dict[str, str]:
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return dict(re.findall(r"^```python ([\w-]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def load(page: str, name: str) -> types.ModuleType:
    """The block as an application's module; forget it with :func:`forget`."""
    made = types.ModuleType(f"page_{page.replace('-', '_')}_{name.replace('-', '_')}")
    sys.modules[made.__name__] = made
    exec(compile(blocks(page)[name], f"{page}.md:{name}", "exec"), vars(made))
    return made


def forget(module: types.ModuleType) -> None:
    del sys.modules[module.__name__]
