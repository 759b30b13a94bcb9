"""The options of a guard as keywords, for type checkers and for what reads the settings of a framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from stateguard.config import Action, Carrier, Locate, Mode
    from stateguard.leak import Leak, Severity
    from stateguard.report.sink import Sink


class Options(TypedDict, total=False):
    """The options of :class:`stateguard.Guard` and of both middlewares, as keywords."""

    watch: Sequence[str] | None
    on_leak: Action | Callable[[Leak], object]
    mode: Mode
    allow: Sequence[str]
    threshold: Severity
    locate: Locate
    scope: Carrier
    session_factory: Callable[[], Any] | None
    process: bool
    show_values: bool
    keep: int
    budget: float
    max_pause: float
    surfaces: Mapping[str, tuple[str, ...]] | None
    report_to: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
    sinks: Sequence[Sink]
    warm_up: int | str
    rate_limit: int
