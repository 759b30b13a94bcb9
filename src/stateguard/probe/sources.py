"""Templates from files: YAML or JSON of our own; HAR recordings and OpenAPI schemas are recognised."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateguard.errors import ConfigError
from stateguard.probe.har import from_har
from stateguard.probe.openapi import from_openapi
from stateguard.probe.requests import METHODS, Template, parse, saved

if TYPE_CHECKING:
    from pathlib import Path

_KEYS = {
    "request",
    "once",
    "method",
    "path",
    "headers",
    "json",
    "body",
    "form",
    "messages",
    "save",
    "shared",
    "optional",
}


def read_file(file: Path) -> list[Template]:
    """The templates of a file, whatever its kind. Raises :class:`~stateguard.errors.ConfigError`."""
    try:
        text = file.read_text("utf-8")
        data = _yaml(text, file) if file.suffix in (".yaml", ".yml") else json.loads(text)
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"cannot read requests from {file}: {said}") from error
    if isinstance(data, dict) and "openapi" in data:
        return from_openapi(data)
    if isinstance(data, dict) and "log" in data:
        return from_har(data)
    logins: Any = []
    if isinstance(data, dict):
        logins, data = data.get("login") or [], data.get("requests") or []
    if not isinstance(data, list) or not isinstance(logins, list) or not (data or logins):
        raise ConfigError(f"{file} holds no requests: expected a list, or a mapping with `requests:`")
    entries = [{**_entry(entry), "once": True} for entry in logins] + [_entry(entry) for entry in data]
    try:
        return [_template(entry, file) for entry in entries]
    except ConfigError:
        raise
    except (TypeError, ValueError, RecursionError) as error:  # a body that contains itself, say
        raise ConfigError(f"cannot read requests from {file}: {error}") from error


def _yaml(text: str, file: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ConfigError(
            f"{file}: reading YAML needs pyyaml: pip install 'stateguard-middleware[probe]'"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{error.problem or error.context}{line}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _entry(entry: Any) -> dict[str, Any]:
    return {"request": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else {}


def _template(entry: dict[str, Any], file: Path) -> Template:
    unknown = entry.keys() - _KEYS
    if unknown:
        raise ConfigError(
            f"{file}: a request has no {', '.join(sorted(unknown))}; it may have {', '.join(sorted(_KEYS))}"
        )
    once, shared, optional = (bool(entry.get(key)) for key in ("once", "shared", "optional"))
    save = tuple(saved(f"{name}={path}") for name, path in _mapping(entry, "save", file).items())
    if "request" in entry:
        return replace(parse(str(entry["request"]), once), save=save, shared=shared, optional=optional)
    messages = entry.get("messages") or []
    method = str(entry.get("method", "WS" if messages else "GET")).upper()
    path = str(entry.get("path", ""))
    if method not in METHODS or not path.startswith("/"):
        raise ConfigError(
            f"{file}: each request needs a path that begins with / and a method out of {', '.join(METHODS)}; "
            f"got {entry!r}"
        )
    headers = [(str(k).lower(), str(v)) for k, v in _mapping(entry, "headers", file).items()]
    body = entry.get("body", "")
    if "form" in entry:
        body = "&".join(f"{name}={value}" for name, value in _mapping(entry, "form", file).items())
        headers.append(("content-type", "application/x-www-form-urlencoded"))
    elif "json" in entry or not isinstance(body, str):
        body = json.dumps(entry.get("json", body))
        headers.append(("content-type", "application/json"))
    texts = tuple(each if isinstance(each, str) else json.dumps(each) for each in messages)
    return Template(method, path, tuple(headers), body, once, save, shared, optional, texts)


def _mapping(entry: dict[str, Any], key: str, file: Path) -> dict[str, Any]:
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: {key} is a mapping of names to values; got {found!r}")
    return found
