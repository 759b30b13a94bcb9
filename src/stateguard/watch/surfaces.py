"""Which attributes of well-known third-party objects are per-user state.

A client library's internals (pools, locks, counters) are none of our business, but its per-user surface
is where real services leak: credentials, headers and cookies of one request stay on a client that all
requests share. Keys are ``module.qualname`` of a class (subclasses included), values the attributes to watch
as they are stored on the instance. A name with a minus is left out of all the others: what a framework's
application object fills in by itself on its first request.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SDK = ("api_key", "auth_token", "_custom_headers", "_custom_query", "_client", "_base_url")

_HTTPX = ("_headers", "_cookies", "_params", "_auth", "_base_url")

_STANDARD_LIBRARY = {
    "asyncio.queues.Queue": ("_queue",),
    "configparser.RawConfigParser": ("_sections", "_defaults"),
    "contextlib._BaseExitStack": ("_exit_callbacks",),
    "email.message.Message": ("_headers",),
    "http.cookiejar.Cookie": ("value",),
    "http.cookiejar.CookieJar": ("_cookies",),
    "logging.LoggerAdapter": ("extra",),
    "queue.Queue": ("queue",),
    "urllib.request.OpenerDirector": ("addheaders",),
    "urllib.request.Request": ("headers", "unredirected_hdrs", "_data"),
}

SURFACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **_STANDARD_LIBRARY,
        "anthropic._base_client.BaseClient": _SDK,
        "openai._base_client.BaseClient": (*_SDK, "organization", "project"),
        # These two set __module__ of the classes they export; BaseClient is not exported.
        "httpx._client.BaseClient": _HTTPX,
        "httpx.Headers": ("_list",),
        "httpx.Cookies": ("jar",),
        "httpx.QueryParams": ("_dict",),
        "httpx2._client.BaseClient": _HTTPX,
        "httpx2.Headers": ("_list",),
        "httpx2.Cookies": ("jar",),
        "httpx2.QueryParams": ("_dict",),
        "requests.sessions.Session": ("headers", "cookies", "auth", "params", "proxies", "cert"),
        "requests.structures.CaseInsensitiveDict": ("_store",),
        "aiohttp.client.ClientSession": ("_default_headers", "_cookie_jar", "_default_auth"),
        "aiohttp.cookiejar.CookieJar": ("_cookies",),
        "starlette.datastructures.State": ("_state",),
        "starlette.applications.Starlette": ("-middleware_stack", "-openapi_schema"),
        "flask.app.Flask": (
            "-_got_first_request",
            "-jinja_env",
            "-jinja_loader",
            "-url_map",
            "-view_functions",
        ),
        "django.core.handlers.base.BaseHandler": ("-_middleware_chain",),
    }
)
"""The shipped table. ``Guard(surfaces={...})`` adds to it or replaces an entry."""
