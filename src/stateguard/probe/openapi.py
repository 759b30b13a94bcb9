"""Templates from an OpenAPI schema: a request per operation, filled in with canaries."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from stateguard.errors import ConfigError
from stateguard.probe.canary import LENGTH
from stateguard.probe.requests import METHODS, Template

_DEEPEST = 6

MEMBERS = 1000
"""Values in one body after which what is optional is left out, and items of one list: models refer to each
other, and every further level multiplies.
"""

LONGEST = 100_000
"""Characters of one made-up string."""

_FORMATS = {
    "email": "{canary}@example.com",
    "uri": "https://example.com/{canary}",
    "url": "https://example.com/{canary}",
    "hostname": "{canary}.example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:00:00Z",
    "time": "12:00:00Z",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "byte": "c3RhdGVndWFyZA==",
}
"""Strings that are only accepted in a form; some can hold a canary."""

_BOUNDARY = "stateguard-probe-part"


def from_openapi(schema: dict[str, Any]) -> list[Template]:
    """A request per operation, writing ones first, deleting ones last.

    They are ``optional``: an operation that the made-up request cannot satisfy is left out of the verdict.
    Raises :class:`~stateguard.errors.ConfigError` if the schema describes no operations, or is none.
    """
    try:
        found = _operations(schema)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"this is not an OpenAPI schema: {type(error).__name__}: {error}") from error
    if not found:
        raise ConfigError("the OpenAPI schema describes no operations")
    order = {"POST": 0, "PUT": 1, "PATCH": 2, "GET": 3, "HEAD": 4, "OPTIONS": 4, "DELETE": 5}
    return sorted(found, key=lambda template: order[template.method])


def _operations(schema: dict[str, Any]) -> list[Template]:
    found = []
    for path, operations in (schema.get("paths") or {}).items():
        for method, operation in _resolve(operations, schema).items():
            if method.upper() in METHODS and isinstance(operation, dict):
                shared = _resolve(operations, schema).get("parameters", ())
                found.append(_operation(str(path), method.upper(), operation, shared, schema))
    return found


def _operation(
    path: str, method: str, operation: dict[str, Any], shared: Any, schema: dict[str, Any]
) -> Template:
    query, headers = [], []
    for each in (*shared, *operation.get("parameters", ())):
        parameter = _resolve(each, schema)
        name, place = str(parameter.get("name", "")), parameter.get("in")
        value = _text(parameter.get("example", _Examples(schema).of(parameter.get("schema", {}))))
        if place == "path":
            path = path.replace(f"{{{name}}}", quote(value, safe="{}@"))
        elif place == "query":
            query.append(f"{quote(name)}={quote(value, safe='{}@')}")
        elif place == "header":
            headers.append((name.lower(), value))
        elif place == "cookie":
            headers.append(("cookie", f"{name}={value}"))
    content = _resolve(operation.get("requestBody") or {}, schema).get("content") or {}
    body = ""
    for kind, media in content.items():
        example = media.get("example", _Examples(schema).of(media.get("schema") or {}))
        if kind == "application/json" or kind.endswith("+json"):
            body = json.dumps(example)
        elif kind == "application/x-www-form-urlencoded" and isinstance(example, dict):
            body = "&".join(
                f"{quote(name)}={quote(_text(value), safe='{}@')}" for name, value in example.items()
            )
        elif kind == "multipart/form-data" and isinstance(example, dict):
            body = _multipart(example)
            headers.append(("content-type", f"{kind}; boundary={_BOUNDARY}"))
            break
        elif kind.startswith("text/"):
            body = "{canary}"
        else:
            continue
        headers.append(("content-type", kind))
        break
    path += f"?{'&'.join(query)}" if query else ""
    return Template(method, path, tuple(headers), body, optional=True)


def _multipart(fields: dict[str, Any]) -> str:
    parts = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.txt"\r\n'
        f"Content-Type: text/plain\r\n\r\n{_text(value)}\r\n"
        for name, value in fields.items()
    )
    return "".join(parts) + f"--{_BOUNDARY}--\r\n"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _resolve(part: Any, schema: dict[str, Any]) -> dict[str, Any]:
    for _ in range(_DEEPEST):
        reference = part.get("$ref") if isinstance(part, dict) else None
        if not isinstance(reference, str):
            break
        part = schema
        for name in reference.removeprefix("#/").split("/"):
            part = part.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(part, dict) else {}
    return part if isinstance(part, dict) else {}


class _Examples:
    """Makes up one value for one body or parameter."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._left = MEMBERS

    def of(self, part: Any, depth: int = 0) -> Any:
        """A value that the part of the schema allows."""
        part = _resolve(part, self._schema)
        self._left -= 1
        if depth > _DEEPEST:
            return None
        if part.get("allOf"):
            wholes = [self.of(each, depth + 1) for each in part["allOf"]]
            if all(isinstance(whole, dict) for whole in wholes):
                return {
                    name: value
                    for whole in (*wholes, self._object(part, depth))
                    for name, value in whole.items()
                }
            return wholes[0]
        for word in ("anyOf", "oneOf"):
            choices = [_resolve(each, self._schema) for each in part.get(word) or ()]
            if choices:
                return self.of(next((c for c in choices if c.get("type") != "null"), choices[0]), depth + 1)
        if "const" in part:
            return part["const"]
        if part.get("enum"):
            return part["enum"][0]
        kind = part.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind == "object" or "properties" in part:
            return self._object(part, depth)
        if kind == "array":
            return [self.of(part.get("items", {}), depth + 1)] * min(MEMBERS, max(1, part.get("minItems", 1)))
        if kind in ("integer", "number"):
            return _number(part)
        if kind in ("boolean", "null"):
            return True if kind == "boolean" else None
        return _string(part)

    def _object(self, part: dict[str, Any], depth: int) -> dict[str, Any]:
        required = part.get("required") or ()
        return {
            name: self.of(each, depth + 1)
            for name, each in (part.get("properties") or {}).items()
            if self._left > 0 or name in required
        }


def _number(part: dict[str, Any]) -> Any:
    if "default" in part:
        return part["default"]
    lowest = part.get("minimum", part.get("exclusiveMinimum", 0) + 1)
    return min(lowest, part["maximum"]) if "maximum" in part else lowest


def _string(part: dict[str, Any]) -> str:
    formed = _FORMATS.get(str(part.get("format")))
    if formed is not None:
        return formed
    if "pattern" in part or int(part.get("maxLength", LENGTH)) < LENGTH:
        for example in (part.get("example"), *(part.get("examples") or ()), part.get("default")):
            if isinstance(example, str):
                return example
        if "pattern" not in part:
            return "x" * max(0, int(part["maxLength"]))
    return "{canary}" + "x" * min(LONGEST, max(0, int(part.get("minLength", 0)) - LENGTH))
