"""What an audit is told: paths, rules, thresholds; from keywords or from ``[tool.stateguard.audit]``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stateguard.errors import ConfigError
from stateguard.finding import CERTAINTIES, Certainty
from stateguard.leak import SEVERITIES, Severity
from stateguard.rules import DEFAULT_CODES, RULES, find_rule

DEFAULT_EXCLUDES = (
    ".*", "__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist", "*.egg-info",
    "tests", "test", "testing", "unittest", "unittests", "test_*.py", "*_test.py", "conftest.py", "docs",
    "migrations", "benchmarks",
    "setup.py", "noxfile.py", "_vendor", "vendor", "third_party",
)  # fmt: skip
"""Names (of a file or of any directory below an audited path) that are left out: code no request runs."""


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How to audit. ``jobs`` 0 takes all cores. Paths are shown relative to ``root``."""

    root: Path = field(default_factory=Path.cwd)
    select: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_path_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = DEFAULT_EXCLUDES
    min_severity: Severity = "low"
    min_confidence: Certainty = "low"
    jobs: int = 1
    cache: Path | None = None

    def codes(self) -> frozenset[str]:
        """The rule codes this audit reports."""
        chosen = expand(self.select) if self.select else DEFAULT_CODES
        return frozenset((chosen | expand(self.extend_select)) - expand(self.ignore))


def expand(patterns: Iterable[str]) -> frozenset[str]:
    """Codes, code prefixes (``SG10``), names (``shared-container``) and ``ALL`` as codes.

    Raises :class:`~stateguard.errors.ConfigError` for a text that names no rule.
    """
    found: set[str] = set()
    for pattern in patterns:
        text = pattern.strip()
        if text.upper() == "ALL":
            found.update(RULES)
            continue
        rule = find_rule(text)
        if rule is not None:
            found.add(rule.code)
            continue
        codes = {code for code in RULES if text and code.startswith(text.upper())}
        if not codes:
            near = get_close_matches(text.lower(), [rule.name for rule in RULES.values()], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"no rule is called {pattern!r}.{hint} `stateguard rule` lists all of them")
        found |= codes
    return frozenset(found)


_KEYS = {
    "select", "extend-select", "ignore", "per-path-ignores", "exclude", "extend-exclude", "min-severity",
    "min-confidence", "baseline", "paths", "jobs",
}  # fmt: skip


def find_configuration(start: Path) -> Path | None:
    """The nearest ``pyproject.toml`` at or above ``start``."""
    for directory in (start, *start.parents):
        candidate = directory / "pyproject.toml"
        if candidate.is_file():
            return candidate
    return None


def read_table(path: Path) -> Mapping[str, Any]:
    """The ``[tool.stateguard.audit]`` table. Raises ``ConfigError`` for unknown keys and wrong types."""
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    table: Any = data
    at = ""
    for name in ("tool", "stateguard", "audit"):
        table, at = table.get(name, {}), f"{at}.{name}".lstrip(".")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: [{at}] must be a table")
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise ConfigError(
            f"{path}: [tool.stateguard.audit] has no option {unknown[0]!r}. "
            f"Options: {', '.join(sorted(_KEYS))}"
        )
    if "paths" in table:
        _strings(table["paths"], "paths", str(path))
    if not isinstance(table.get("baseline", ""), str):
        raise ConfigError(f"{path}: baseline must be the name of a file, not {table['baseline']!r}")
    return dict(table)


def with_table(options: AuditOptions, table: Mapping[str, Any], source: str) -> AuditOptions:
    """``options`` with the values of a configuration table. Raises ``ConfigError`` for wrong types."""
    changes: dict[str, Any] = {}
    for key, name in (("select", "select"), ("extend-select", "extend_select"), ("ignore", "ignore")):
        if key in table:
            changes[name] = _strings(table[key], key, source)
    if "exclude" in table:
        changes["exclude"] = _strings(table["exclude"], "exclude", source)
    if "extend-exclude" in table:
        base = changes.get("exclude", options.exclude)
        changes["exclude"] = (*base, *_strings(table["extend-exclude"], "extend-exclude", source))
    if "per-path-ignores" in table:
        rows = table["per-path-ignores"]
        if not isinstance(rows, dict):
            raise ConfigError(f"{source}: per-path-ignores must be a table of glob = [codes]")
        changes["per_path_ignores"] = tuple(
            (pattern, _strings(codes, f"per-path-ignores.{pattern}", source))
            for pattern, codes in rows.items()
        )
    if "min-severity" in table:
        changes["min_severity"] = _one_of(table["min-severity"], SEVERITIES, "min-severity", source)
    if "min-confidence" in table:
        changes["min_confidence"] = _one_of(table["min-confidence"], CERTAINTIES, "min-confidence", source)
    if "jobs" in table:
        if not isinstance(table["jobs"], int) or table["jobs"] < 0:
            raise ConfigError(f"{source}: jobs must be a number, 0 for all cores")
        changes["jobs"] = table["jobs"]
    return replace(options, **changes)


def _strings(value: object, key: str, source: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{source}: {key} must be a list of strings, not {value!r}")
    return tuple(value)


def _one_of(value: object, allowed: tuple[str, ...], key: str, source: str) -> str:
    if value not in allowed:
        raise ConfigError(f"{source}: {key} is {value!r}; it must be one of {', '.join(allowed)}")
    return str(value)


OPTION_NAMES = frozenset(one.name for one in fields(AuditOptions))
