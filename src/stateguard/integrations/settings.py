"""Options of a guard that stand in a framework's own settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from stateguard.errors import ConfigError
from stateguard.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = frozenset(Options.__annotations__)


def options_from(settings: Mapping[str, Any], place: str, keywords: Options | None = None) -> Options:
    """The options in ``settings``, below the environment and ``keywords``.

    Names are those of :class:`stateguard.Guard`'s options, in any case. The environment wins over settings,
    as it does over ``[tool.stateguard]``: a service is switched off without a change to its code. Raises
    :class:`~stateguard.errors.ConfigError` for a name that is no option; ``place`` says where it stands.
    """
    options: dict[str, Any] = {}
    for name, value in settings.items():
        option = name.lower()
        if option not in _NAMES:
            raise ConfigError(f"{place} has no option {name!r}. Options: {', '.join(sorted(_NAMES))}")
        if f"STATEGUARD_{option.upper()}" not in os.environ:
            options[option] = value
    return cast("Options", {**options, **(keywords or {})})
