"""Templates from a HAR recording: what a browser sent, with the user's own words replaced by canaries."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from stateguard.errors import ConfigError
from stateguard.probe.requests import METHODS, Template

_DROPPED = {
    "host", "content-length", "connection", "cookie", "accept-encoding", "transfer-encoding", "authorization",
    "x-api-key", "if-none-match", "if-modified-since", "x-request-id",
}  # fmt: skip
"""Headers of the recording's connection, and its credentials: with those all users would be one."""

_WORDS = {
    "message", "messages", "content", "text", "q", "query", "prompt", "question", "name", "title", "comment",
    "body", "input", "description", "note", "search", "subject", "user", "username", "email", "password",
}  # fmt: skip
"""Names under which applications are sent what their users write."""

_STATIC = (".js", ".css", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".ico", ".woff", ".woff2", ".map", ".webp")


def from_har(data: dict[str, Any]) -> list[Template]:
    """The requests of a recording, files left out.

    Strings in JSON bodies, forms and queries become canaries where they look like something that a user has
    written, or all of them if none does. Raises :class:`~stateguard.errors.ConfigError` if nothing is left.
    """
    log = data.get("log")
    entries = log.get("entries") if isinstance(log, dict) else None
    requests = [each.get("request") for each in entries or () if isinstance(each, dict)]
    for everything in (False, True):
        found = [template for each in requests if (template := _read(each, everything)) is not None]
        if any(template.marked for template in found):
            return found
    if not found:
        raise ConfigError("the HAR recording holds no requests")
    return found


def _read(request: Any, everything: bool) -> Template | None:
    """The template of one recorded request; ``None`` for a file, and for what is no request."""
    try:
        return _template(request, everything)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _template(request: dict[str, Any], everything: bool) -> Template | None:
    url = urlsplit(str(request.get("url", "")))
    method = str(request.get("method", "GET")).upper()
    path = url.path or "/"
    if method not in METHODS or path.lower().endswith(_STATIC):
        return None
    headers = tuple(
        (pair["name"].lower(), str(pair["value"]))
        for pair in request.get("headers", ())
        if pair["name"].lower() not in _DROPPED and not pair["name"].startswith(":")
    )
    query = _marked_pairs(parse_qsl(url.query, keep_blank_values=True), everything)
    body = str((request.get("postData") or {}).get("text") or "")
    kind = str((request.get("postData") or {}).get("mimeType", "")) or dict(headers).get("content-type", "")
    if "form-urlencoded" in kind:
        body = _marked_pairs(parse_qsl(body, keep_blank_values=True), everything)
    elif body:
        with suppress(ValueError):  # neither: sent as it was recorded
            body = json.dumps(_marked(json.loads(body), everything))
    return Template(method, path + (f"?{query}" if query else ""), headers, body)


def _marked_pairs(pairs: list[tuple[str, str]], everything: bool) -> str:
    return "&".join(
        f"{quote(name)}={'{canary}' if _written(name, value, everything) else quote(value)}"
        for name, value in pairs
    )


def _marked(value: Any, everything: bool, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _marked(each, everything, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each, everything, name) for each in value]
    return "{canary}" if isinstance(value, str) and _written(name, value, everything) else value


def _written(name: str, value: str, everything: bool) -> bool:
    """Whether it looks like something that a user has written."""
    return everything or name.lower() in _WORDS or " " in value.strip()
