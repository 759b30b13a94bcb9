"""Docstrings are written for `help()`, in Sphinx's notation: read them as Markdown for the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:\w+):`~?(?:([^`<]+) <)?([^`>]+)>?`")
_CODE = re.compile(r"``([^`]+)``")


def as_markdown(text: str) -> str:
    """``:class:`~stateguard.leak.Leak``` as `Leak`, double backticks as single ones."""

    def role(match: re.Match[str]) -> str:
        shown, target = match[1], match[2]
        return f"`{shown or (target.rpartition('.')[2] if '~' in match[0] else target)}`"

    return _CODE.sub(r"`\1`", _ROLE.sub(role, text))


class Docstrings(griffe.Extension):
    """For mkdocstrings."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Every documented object."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
