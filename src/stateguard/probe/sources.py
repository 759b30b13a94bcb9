"""Templates from files: YAML or JSON of our own, HAR recordings, OpenAPI schemas."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stateguard.errors import ConfigError
from stateguard.probe.requests import METHODS, Template, parse

_DROPPED = {"host", "content-length", "connection", "cookie", "accept-encoding", "transfer-encoding"}
_DEPTH = 6


def read_file(file: Path) -> list[Template]:
    """The templates of a file, whatever its kind. Raises :class:`~stateguard.errors.ConfigError`."""
    try:
        text = file.read_text("utf-8")
        data = _yaml(text, file) if file.suffix in (".yaml", ".yml") else json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read requests from {file}: {error}") from error
    if isinstance(data, dict) and "openapi" in data:
        return from_openapi(data)
    if isinstance(data, dict) and "log" in data:
        return from_har(data)
    if isinstance(data, dict):
        data = [{**_entry(e), "once": True} for e in data.get("login", [])] + list(data.get("requests", []))
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{file} holds no requests: expected a list, or a mapping with `requests:`")
    return [_template(_entry(entry), file) for entry in data]


def _yaml(text: str, file: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ConfigError(
            f"{file}: reading YAML needs pyyaml: pip install 'stateguard-middleware[probe]'"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read requests from {file}: {error}") from error


def _entry(entry: Any) -> dict[str, Any]:
    return {"request": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else {}


def _template(entry: dict[str, Any], file: Path) -> Template:
    once = bool(entry.get("once"))
    if "request" in entry:
        return parse(str(entry["request"]), once)
    method, path = str(entry.get("method", "GET")).upper(), str(entry.get("path", ""))
    if method not in METHODS or not path.startswith("/"):
        raise ConfigError(
            f"{file}: each request needs a path that begins with / and a method out of {', '.join(METHODS)}; "
            f"got {entry!r}"
        )
    headers = [(str(k).lower(), str(v)) for k, v in (entry.get("headers") or {}).items()]
    body = entry.get("body", "")
    if "json" in entry or not isinstance(body, str):
        body = json.dumps(entry.get("json", body))
        headers.append(("content-type", "application/json"))
    return Template(method, path, tuple(headers), body, once)


def from_har(data: dict[str, Any]) -> list[Template]:
    """The requests of a recording. A string in a JSON body or query that is user text becomes a canary."""
    found = []
    for entry in data.get("log", {}).get("entries", []):
        request = entry.get("request", {})
        url = urlsplit(str(request.get("url", "")))
        method = str(request.get("method", "GET")).upper()
        if method not in METHODS:
            continue
        query = "&".join(f"{pair['name']}={{canary}}" for pair in request.get("queryString", []))
        headers = tuple(
            (pair["name"].lower(), pair["value"])
            for pair in request.get("headers", [])
            if pair["name"].lower() not in _DROPPED and not pair["name"].startswith(":")
        )
        body = str((request.get("postData") or {}).get("text", ""))
        with suppress(ValueError):  # not JSON: sent as it was recorded
            body = json.dumps(_marked(json.loads(body))) if body else ""
        found.append(Template(method, (url.path or "/") + (f"?{query}" if query else ""), headers, body))
    if not found:
        raise ConfigError("the HAR recording holds no requests")
    return found


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_marked(each) for each in value]
    return "{canary}" if isinstance(value, str) else value


def from_openapi(schema: dict[str, Any]) -> list[Template]:
    """A request per operation, its strings filled with canaries; writing operations first."""
    found = []
    for path, operations in schema.get("paths", {}).items():
        for method, operation in operations.items():
            if method.upper() not in METHODS or not isinstance(operation, dict):
                continue
            query, headers, full = [], [], str(path)
            for each in (*operations.get("parameters", ()), *operation.get("parameters", ())):
                parameter = _resolve(each, schema)
                name, place = parameter.get("name", ""), parameter.get("in")
                value = str(_example(parameter.get("schema", {}), schema))
                if place == "path":
                    full = full.replace(f"{{{name}}}", value)
                elif place == "query":
                    query.append(f"{name}={value}")
                elif place in ("header", "cookie"):
                    headers.append((name, value) if place == "header" else ("cookie", f"{name}={value}"))
            content = _resolve(operation.get("requestBody", {}), schema).get("content", {})
            body = ""
            if "application/json" in content:
                body = json.dumps(_example(content["application/json"].get("schema", {}), schema))
                headers.append(("content-type", "application/json"))
            full += f"?{'&'.join(query)}" if query else ""
            found.append(Template(method.upper(), full, tuple(headers), body))
    if not found:
        raise ConfigError("the OpenAPI schema describes no operations")
    return sorted(found, key=lambda template: template.method in ("GET", "HEAD", "DELETE"))


def _resolve(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    if not isinstance(reference, str):
        return part
    found: Any = schema
    for name in reference.removeprefix("#/").split("/"):
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _example(part: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Any:
    part = _resolve(part, schema)
    if depth > _DEPTH:
        return None
    for word in ("anyOf", "oneOf", "allOf"):
        if part.get(word):
            return _example(part[word][0], schema, depth + 1)
    if part.get("enum"):
        return part["enum"][0]
    kind = part.get("type")
    if kind == "object" or "properties" in part:
        return {name: _example(each, schema, depth + 1) for name, each in part.get("properties", {}).items()}
    if kind == "array":
        return [_example(part.get("items", {}), schema, depth + 1)]
    plain = {"integer": part.get("minimum", 1), "number": 1.0, "boolean": True, "null": None}
    return plain.get(str(kind), "{canary}")
