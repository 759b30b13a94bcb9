"""SG113: settings of the process, of a library or of a shared client, set while a request is served."""

from __future__ import annotations

from collections.abc import Iterator

from stateguard.audit.checks.base import ATTRIBUTE_OPS, CONTENT_OPS, Claim, Context, defined_at
from stateguard.audit.effects import SharedWrite
from stateguard.audit.facts import Write
from stateguard.audit.program import Place
from stateguard.audit.walk.names import REQUEST_PROXIES

SURFACES = frozenset(
    {
        "headers", "cookies", "auth", "params", "api_key", "api_base", "api_token", "token", "base_url",
        "proxies",
        "organization", "default_headers", "access_token", "credentials", "verify", "cert", "timeout",
        "api_type",
        "api_version", "session_id", "user_id", "password", "username", "secret", "tenant", "model",
        "temperature",
        "default_query", "defaults", "rcParams", "options", "context", "memory", "messages", "history",
    }
)  # fmt: skip
"""Attributes of clients and libraries that carry what belongs to one user."""

_PROCESS = {"os.environ": "the environment of the process", "sys.path": "the import path of the process"}
_SETTERS = {
    "os.chdir": "the working directory",
    "os.umask": "the file mode mask",
    "os.putenv": "the environment",
    "os.unsetenv": "the environment",
    "locale.setlocale": "the locale",
    "random.seed": "the random number generator",
    "numpy.random.seed": "numpy's random number generator",
    "socket.setdefaulttimeout": "the default socket timeout",
    "time.tzset": "the time zone",
}
_REQUEST_OBJECTS = frozenset({"flask", "quart", "bottle", "flask_login", "cherrypy", "web", "sanic"})


def claim(context: Context, write: SharedWrite) -> Claim | None:
    """Claim writes to modules outside the program and to clients made from their classes."""
    place, one = write.place, write.write
    if place.kind == "E":
        return _outside(place, one)
    if place.kind != "V":
        return None
    base = place._replace(path="", receiver=None)
    outside = context.resolver.values.outside(base)
    if not outside:
        return None
    first = place.path[1:].partition(".")[0].partition("[")[0] if place.path.startswith(".") else ""
    name = first or (one.key if one.op in ATTRIBUTE_OPS else "")
    if name not in SURFACES:
        return None
    label = f"{place.name}.{name}"
    what = f"state of a client (`{outside[0].rpartition('.')[2]}`) that all requests use"
    return Claim(
        "SG113", f"{place.owner}.{label}", label, what, defined_at(context, base), defined_module=place.owner
    )


def _outside(place: Place, one: Write) -> Claim | None:
    owner, path = place.owner, place.path
    for known, words in _PROCESS.items():
        if owner == known and not path and one.op in CONTENT_OPS:
            label = f"{known}[{one.key}]" if one.op in ("item", "item+", "delitem") and one.key else known
            return Claim("SG113", label, label, f"{words}, one for all requests")
    if path or owner.startswith("builtins."):
        return None
    parts = owner.split(".")
    if parts[0] in _REQUEST_OBJECTS or parts[-1] in REQUEST_PROXIES:
        return None
    if one.op in ATTRIBUTE_OPS and one.op != "delattr":
        is_module = len(parts) == 1
        if not is_module and one.key not in SURFACES:
            return None
        label = f"{owner}.{one.key}"
        what = f"a setting of `{parts[0]}` for the whole process"
        return Claim("SG113", label, label, what, certain=is_module)
    if one.op in ("item", "item+") and parts[-1] in SURFACES and len(parts) > 1:
        label = f"{owner}[{one.key}]"
        return Claim("SG113", owner, label, f"a setting of `{parts[0]}` for the whole process", certain=False)
    return None


def setters(context: Context) -> Iterator[tuple[Claim, SharedWrite]]:
    """Calls that change the process: ``os.chdir``, ``locale.setlocale``."""
    for function in context.program.functions.values():
        for call in function.facts.calls:
            name = call.callee.rpartition(".")[2].rpartition(":")[2]
            if name not in _NAMES:
                continue
            for place in context.resolver.resolve(function.module, function.facts, call.callee):
                if place.kind == "E" and place.owner in _SETTERS and not place.path:
                    what = f"{_SETTERS[place.owner]} of the process, one for all requests"
                    length = len(call.callee) - 2 + 2
                    write = Write(
                        call.callee, "set", call.line, call.column, call.line, call.column + length,
                        place.owner, "", (), (), "", call.lock, "",
                    )  # fmt: skip
                    shared = SharedWrite(place, write, function.key, function.key, ())
                    yield Claim("SG113", f"{place.owner}()", f"{place.owner}()", what), shared


_NAMES = frozenset(name.rpartition(".")[2] for name in _SETTERS)
