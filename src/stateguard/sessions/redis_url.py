"""Which Redis: one server, a Sentinel group or a Cluster, all by URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from stateguard.errors import ConfigError

SCHEMES = (
    "redis://, rediss://, unix://, redis+sentinel://host:26379,host2:26379/service/0 "
    "or redis+cluster://host,host2"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names. ``hosts`` and ``options`` are for Sentinel and Cluster only."""

    kind: Literal["single", "sentinel", "cluster"]
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def parse(url: str) -> Target:
    """Read a store's URL; raises :class:`ConfigError` for one that names no Redis.

    ``redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/db]`` and
    ``redis+cluster://[user:password@]host[:port][,...]``; ``rediss+...`` for TLS. ``?sentinel_password=...``
    goes to the sentinels.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if scheme in {"redis", "rediss", "unix"} and not kind:
        return Target("single", url)
    if scheme not in {"redis", "rediss"} or kind not in {"sentinel", "cluster"}:
        raise ConfigError(f"RedisStore({redacted(url)!r}): use {SCHEMES}")
    user_info, _, host_list = parts.netloc.rpartition("@")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if scheme == "rediss":
        options["ssl"] = True
    if user_info:
        user, _, password = user_info.partition(":")
        options["username"] = unquote(user) or None
        options["password"] = unquote(password) or None
    default = 26379 if kind == "sentinel" else 6379
    hosts = tuple(_host(text, default, url) for text in host_list.split(",") if text)
    path = [unquote(part) for part in parts.path.split("/") if part]
    if not hosts or (kind == "sentinel" and not path):
        raise ConfigError(f"RedisStore({redacted(url)!r}): use {SCHEMES}")
    if kind == "sentinel":
        options["db"] = int(path[1]) if len(path) > 1 and path[1].isdigit() else 0
        return Target("sentinel", url, hosts, path[0], options)
    return Target("cluster", url, hosts, "", options)


def redacted(url: str) -> str:
    """The URL without its password, for messages."""
    parts = urlsplit(url)
    user_info, at, hosts = parts.netloc.rpartition("@")
    if at and ":" in user_info:
        user_info = user_info.partition(":")[0] + ":***"
    query = "?..." if parts.query else ""
    return f"{parts.scheme}://{user_info}{at}{hosts}{parts.path}{query}"


def _host(text: str, default: int, url: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.lstrip(":")
    else:
        host, _, port = text.partition(":")
    if port and not port.isdigit():
        raise ConfigError(f"RedisStore({redacted(url)!r}): {port!r} is not a port")
    return host, int(port) if port else default
