"""Exemptions for well-known libraries: what they keep in shared state on purpose, each with its reason.

``allow=["@starlette"]`` stands for all entries of that name. They matter when a library itself is watched, or
keeps its state on the application object. Each was seen in an unmodified library, at the severity ``high``
or as a steady stream of milder ones, and read in its source.
"""

from __future__ import annotations

from stateguard.errors import ConfigError

PRESETS: dict[str, tuple[str, ...]] = {
    "starlette": (
        "*.config_checked  # StaticFiles has looked once whether its directory exists",
        "*.middleware_stack  # built at the first request",
    ),
    "fastapi": (
        "fastapi.routing._endpoint_context_cache*  # where each endpoint is defined, looked up once",
        "*.openapi_schema  # made when it is first asked for",
    ),
    "jinja2": (
        "jinja2.lexer._lexer_cache*  # a bounded cache, least recently used first",
        "*env.cache._*  # the compiled templates: another such cache",
    ),
    "httpx": ("httpx._transports.default.HTTPCORE_EXC_MAP  # a table of exceptions, made at the first call",),
    "prometheus": ("*._metrics*  # one child per combination of labels", "*._value._val  # the counts"),
    "datasette": ("*._permission_checks  # the latest 200 checks, for its own debug page",),
    "radicale": (
        "*._lock._writer  # a readers-writer lock written in Python",
        "radicale.log.register_stream._streams*  # where each thread logs to",
    ),
    "kinto": ("*.storage._store*  # the in-memory storage back end: it is the database",),
}
"""Entries by the name of the preset."""


def expand(entries: tuple[str, ...] | list[str]) -> list[tuple[str, bool]]:
    """The entries, presets put in the place of their names; whether each comes from a preset.

    Raises :class:`~stateguard.errors.ConfigError` for a preset that does not exist.
    """
    found: list[tuple[str, bool]] = []
    for entry in entries:
        name = entry.partition("#")[0].strip()
        if not name.startswith("@"):
            found.append((entry, False))
        elif name[1:] in PRESETS:
            found += [(one, True) for one in PRESETS[name[1:]]]
        else:
            known = ", ".join(f"@{one}" for one in sorted(PRESETS))
            raise ConfigError(f"allow entry {entry!r}: there is no such preset; there are {known}")
    return found
