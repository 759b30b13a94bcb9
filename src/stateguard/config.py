"""What a guard is told to do, and where from: keyword, then environment, then ``[tool.stateguard]``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, get_args

from stateguard.errors import ConfigError
from stateguard.leak import SEVERITIES, Severity
from stateguard.warmup import parse_warm_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.leak import Leak
    from stateguard.report.sink import Sink

Mode = Literal["on", "scope-only", "off"]
Locate = Literal["auto", "always", "never"]
Action = Literal["log", "raise", "restore"]
Carrier = Literal["contextvar", "thread-local"]


class Config:
    """The options of a guard. All have defaults; see :class:`stateguard.Guard` for their meaning.

    No dataclass: the methods of one with so many fields take long to compile, at each import.
    """

    watch: tuple[str, ...] | None = None
    on_leak: Action | Callable[[Leak], object] = "log"
    mode: Mode = "on"
    allow: tuple[str, ...] = ()
    threshold: Severity = "high"
    locate: Locate = "auto"
    scope: Carrier = "contextvar"
    session_factory: Callable[[], Any] | None = None
    process: bool = True
    show_values: bool = False
    keep: int = 1000
    budget: float = 0.05
    max_pause: float = 0.002
    surfaces: Mapping[str, tuple[str, ...]] | None = None
    report_to: tuple[str, ...] = ()
    sinks: tuple[Sink, ...] = ()
    warm_up: int | str = 0
    rate_limit: int = 60

    def __init__(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)

    def __repr__(self) -> str:
        return (
            f"Config({', '.join(f'{name}={getattr(self, name)!r}' for name in type(self).__annotations__)})"
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: the options of a guard stay what they are")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: the options of a guard stay what they are")


_WORDS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "locate": get_args(Locate),
    "scope": get_args(Carrier),
    "threshold": SEVERITIES,
}
_ENVIRONMENT = (
    "watch",
    "on_leak",
    "mode",
    "allow",
    "threshold",
    "locate",
    "scope",
    "process",
    "show_values",
    "keep",
    "budget",
    "max_pause",
    "report_to",
    "warm_up",
    "rate_limit",
)


def load_config(options: Mapping[str, Any], directory: str | None = None) -> Config:
    """Join keyword ``options`` with the environment and the project file, and check every value.

    Raises :class:`ConfigError`, naming the option, where it came from and what it may be.
    """
    names = Config.__annotations__
    for name in options:
        if name not in names:
            raise ConfigError(f"Guard has no option {name!r}; it has {', '.join(sorted(names))}")
    values: dict[str, Any] = {}
    for name, value in _project_options(directory).items():
        values[name] = _checked(name, value, "[tool.stateguard] in pyproject.toml")
    for name, value in _environment_options().items():
        values[name] = _checked(name, value, f"the environment variable STATEGUARD_{name.upper()}")
    for name, value in options.items():
        if value is not None or name in ("watch", "session_factory", "surfaces"):
            values[name] = _checked(name, value, "the keyword argument")
    return Config(values)


def _project_options(directory: str | None) -> dict[str, Any]:
    folder = directory or os.getcwd()
    while not os.path.isfile(file := os.path.join(folder, "pyproject.toml")):
        inside, folder = folder, os.path.dirname(folder)
        if folder == inside:
            return {}
    import tomllib  # here: nobody needs it who has no such file

    try:
        with open(file, "rb") as stream:
            table = tomllib.load(stream).get("tool", {}).get("stateguard", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    return {key.replace("-", "_"): value for key, value in table.items() if not isinstance(value, dict)}


def _environment_options() -> dict[str, Any]:
    found: dict[str, Any] = {}
    mode = os.environ.get("STATEGUARD_MODE")
    if mode in get_args(Action):  # one variable is enough to switch a deployment: off, scope-only, log, raise
        found["mode"], found["on_leak"] = "on", mode
    elif mode:
        found["mode"] = mode
    for name in _ENVIRONMENT:
        text = os.environ.get(f"STATEGUARD_{name.upper()}")
        if text and name != "mode":
            found[name] = text
    return found


def _checked(name: str, value: Any, source: str) -> Any:
    def wrong(expected: str) -> ConfigError:
        return ConfigError(f"{name}={value!r} from {source}: expected {expected}")

    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise wrong(" or ".join(repr(choice) for choice in _CHOICES[name]))
    elif name in ("watch", "allow"):
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if value is None and name == "watch":
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
            raise wrong("a list of strings")
        if name == "watch" and not value:
            raise wrong("at least one pattern; leave it out to watch all first-party modules")
        return tuple(value)
    elif name == "on_leak":
        if value not in get_args(Action) and not callable(value):
            raise wrong("'log', 'raise', 'restore' or a callable that takes a Leak")
    elif name == "keep":
        try:
            value = int(value)
        except (TypeError, ValueError):
            raise wrong("a number of leaks, 1 or more") from None
        if value < 1:
            raise wrong("a number of leaks, 1 or more")
    elif name == "rate_limit":
        try:
            value = int(value)
        except (TypeError, ValueError):
            raise wrong("a number of messages per minute, 0 for no limit") from None
        if value < 0:
            raise wrong("a number of messages per minute, 0 for no limit")
    elif name == "budget":
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise wrong("a share of request time between 0 and 1, such as 0.05") from None
        if not 0 <= value <= 1:
            raise wrong("a share of request time between 0 and 1, such as 0.05")
    elif name == "max_pause":
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise wrong("seconds that one look may last, such as 0.002") from None
        if not 0 < value <= 60:
            raise wrong("seconds that one look may last, more than 0, such as 0.002")
    elif name in ("process", "show_values"):
        if isinstance(value, str) and value.lower() in _WORDS:
            value = _WORDS[value.lower()]
        if not isinstance(value, bool):
            raise wrong("true or false")
    elif name == "session_factory":
        if value is not None and not callable(value):
            raise wrong("a callable without arguments, such as a dataclass")
    elif name == "report_to":
        return _places(value, source)
    elif name == "warm_up":
        try:
            parse_warm_up(value)
        except ValueError:
            raise wrong("a number of requests such as 20, or of seconds such as '30s'") from None
    elif name == "sinks":
        if not isinstance(value, (list, tuple)):
            raise wrong("a list of sinks")
        for sink in value:
            if not callable(getattr(sink, "leak", None)) or not callable(getattr(sink, "close", None)):
                raise wrong("sinks, which have the methods leak(leak, seen) and close()")
        return tuple(value)
    elif name == "surfaces":
        if value is not None and not _is_surfaces(value):
            raise wrong("a table of attribute names by class: {'lib.module.Client': ('headers', 'api_key')}")
    else:
        raise ConfigError(f"unknown option {name!r} in {source}")
    return cast("Any", value)


def _is_surfaces(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
        for key, names in value.items()
    )


_REDIS = ("redis://", "rediss://", "unix://")


def _places(value: Any, source: str) -> tuple[str, ...]:
    """Directories, addresses of Redis servers and names of telemetry libraries."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, os.PathLike):
        value = [value]
    for place in value if isinstance(value, (list, tuple)) else (None,):
        text = os.fspath(place) if isinstance(place, (str, os.PathLike)) else None
        if not isinstance(text, str) or not text or ("://" in text and not text.startswith(_REDIS)):
            # Not shown: an address may hold a password.
            raise ConfigError(
                f"report_to from {source}: expected directories, 'redis://...', 'otel', 'prometheus', "
                "'sentry'"
            )
    return tuple(map(os.fspath, value))
