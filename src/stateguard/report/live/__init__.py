"""The live page: the report as an application of its own, ASGI or WSGI, to be mounted on purpose.

:mod:`feed` knows the leaks, :mod:`entry` who may see them, :mod:`site` what each address answers;
:mod:`mounts` speaks the two protocols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.report.live.feed import Feed
    from stateguard.report.live.site import Site


def open_site(token: str, places: Sequence[str], title: str) -> tuple[Site, Feed]:
    """A page behind ``token``, and the sink that feeds it. Raises ``ConfigError`` without jinja2."""
    try:
        from stateguard.report.live.entry import Entry
        from stateguard.report.live.feed import Feed
        from stateguard.report.live.site import Site
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("jinja2", "markupsafe"):
            raise
        raise ConfigError(
            "guard.dashboard() needs jinja2. Install it with:\n\n"
            "    pip install 'stateguard-middleware[report]'"
        ) from None
    feed = Feed(places)
    return Site(Entry(token), feed, title), feed
