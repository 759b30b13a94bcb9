"""The catalogue of the audit's rules.

A code is never reused. The pages under ``docs/rules/`` are generated from this catalogue, and the tests audit
its examples: the leaking ones are found, the repaired ones are not.
"""

from __future__ import annotations

from dataclasses import dataclass

DOCUMENTATION = "https://stateguard.readthedocs.io/rules"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``ignore`` says when to ignore a finding.

    ``leaking`` and ``repaired`` are complete modules; a line such as ``# state.py`` starts another file.
    """

    code: str
    name: str
    summary: str
    why: str
    leaking: str
    repaired: str
    fix: str
    ignore: str
    default: bool = True

    @property
    def url(self) -> str:
        """The address of the rule's page."""
        return f"{DOCUMENTATION}/{self.code}/"


def _rule(
    code: str,
    name: str,
    summary: str,
    *,
    why: str,
    leaking: str,
    repaired: str,
    fix: str,
    ignore: str,
    default: bool = True,
) -> Rule:
    why, leaking, repaired, ignore = (text.strip("\n") for text in (why, leaking, repaired, ignore))
    return Rule(code, name, summary, why, leaking, repaired, fix, ignore, default)


_CATALOGUE: tuple[Rule, ...] = (
    _rule(
        "SG101",
        "shared-container",
        "A module-level container is changed by function code",
        why="""
A list, dict or set at module level exists once per process. What one request puts into it, every later
request finds there: another user's messages, a growing prompt, memory that is never released. A lock orders
the writes; it does not separate the requests.
""",
        leaking="""
HISTORY = []


def chat(message):
    HISTORY.append(message)
    return list(HISTORY)
""",
        repaired="""
from stateguard import scoped

HISTORY = scoped(list)


def chat(message):
    HISTORY.append(message)
    return list(HISTORY)
""",
        fix="make it per request with `scoped(list)`, keep it in a session store, or pass it as an argument",
        ignore="""
The container is meant to be shared and bounded: a cache with a limit, a registry filled while the application
starts, a set of background tasks. Caches (checked before they are filled), counters and start-up code are
recognised and not reported above severity `note`.
""",
    ),
    _rule(
        "SG102",
        "global-rebound",
        "A module-level name is rebound through `global`",
        why="""
`global` makes one variable serve all requests. Between the line that sets it and the line that reads it
another request can run, and reads the first one's value. A flag that is set and restored leaks in between as
well.
""",
        leaking="""
CURRENT_USER = None


def handle(user):
    global CURRENT_USER
    CURRENT_USER = user
    return greet()


def greet():
    return f"hello {CURRENT_USER}"
""",
        repaired="""
from contextvars import ContextVar

CURRENT_USER = ContextVar("CURRENT_USER")


def handle(user):
    token = CURRENT_USER.set(user)
    try:
        return greet()
    finally:
        CURRENT_USER.reset(token)


def greet():
    return f"hello {CURRENT_USER.get()}"
""",
        fix="pass the value as an argument, or keep it in a `ContextVar` that the request sets and resets",
        ignore="""
The value does not depend on any request: a client or connection pool that is created once (recognised when
the code looks whether it is `None` first), a feature flag that operators toggle on purpose.
""",
    ),
    _rule(
        "SG103",
        "foreign-attribute",
        "An attribute of another module is rebound",
        why="""
`state.CURRENT = user` is a global variable without the keyword: the module object is shared by the whole
process. Linters that look for `global` do not see it.
""",
        leaking="""
# state.py
CURRENT = None

# handlers.py
import state


def handle(user):
    state.CURRENT = user
    return greet()


def greet():
    return f"hello {state.CURRENT}"
""",
        repaired="""
# state.py
from contextvars import ContextVar

CURRENT = ContextVar("CURRENT")

# handlers.py
import state


def handle(user):
    state.CURRENT.set(user)
    return greet()


def greet():
    return f"hello {state.CURRENT.get()}"
""",
        fix="pass the value as an argument, or make the attribute a `ContextVar` and call its `.set()`",
        ignore="Configuration code that runs once, before requests are served.",
    ),
    _rule(
        "SG104",
        "class-attribute",
        "A class attribute is changed through `self`, `cls` or the class",
        why="""
What a class body binds belongs to the class: all instances, hence all requests, share it.
`self.items.append(x)` reads like instance state and writes the class's list, unless `__init__` gave the
instance its own.
""",
        leaking="""
class Cart:
    items = []

    def add(self, item):
        self.items.append(item)
""",
        repaired="""
class Cart:
    def __init__(self):
        self.items = []

    def add(self, item):
        self.items.append(item)
""",
        fix="create the object in `__init__`, or declare it with `field(default_factory=...)`",
        ignore="A registry of subclasses or plug-ins that is filled while modules are imported.",
    ),
    _rule(
        "SG105",
        "mutable-default",
        "A mutable default argument is changed, stored or returned",
        why="""
A default is created once, when the function is defined. Every call that does not pass the argument works on
the same object, and whoever receives it from the function can change it for everybody.
""",
        leaking="""
def collect(item, seen=[]):
    seen.append(item)
    return len(seen)
""",
        repaired="""
def collect(item, seen=None):
    seen = [] if seen is None else seen
    seen.append(item)
    return len(seen)
""",
        fix="default to `None` and create the object in the body",
        ignore="The default is a deliberate memo that holds nothing of a request.",
    ),
    _rule(
        "SG106",
        "instance-attribute",
        "An attribute of a module-level instance is changed",
        why="""
An agent, a chain, a service object created at module level is one object for all requests. Its attributes are
global variables with a dot: a memory that grows with everybody's messages, a `current_user` that another
request overwrites.
""",
        leaking="""
class Agent:
    def __init__(self):
        self.messages = []

    def ask(self, text):
        self.messages.append(text)
        return len(self.messages)


agent = Agent()


def chat(text):
    return agent.ask(text)
""",
        repaired="""
class Agent:
    def __init__(self):
        self.messages = []

    def ask(self, text):
        self.messages.append(text)
        return len(self.messages)


def chat(text):
    agent = Agent()
    return agent.ask(text)
""",
        fix="create the object per request, or move the changing part into a session",
        ignore="The attribute is a cache, a pool or a statistic that does not hold request data.",
    ),
    _rule(
        "SG107",
        "middleware-state",
        "Middleware or application instance state is written per call",
        why="""
A middleware object and the application object are created once and called for every request. `self.user =
...` in `__call__` or `dispatch`, or `request.app.state.user = ...`, is visible to all requests in flight.
""",
        leaking="""
class UserMiddleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        self.user = scope.get("user")
        await self.app(scope, receive, send)
""",
        repaired="""
class UserMiddleware:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        scope.setdefault("state", {})["user"] = scope.get("user")
        await self.app(scope, receive, send)
""",
        fix="keep it in a local variable, in the request (`request.state`, `g`) or in a `ContextVar`",
        ignore="What is stored is built once, the same for all requests: a compiled table, a pool.",
    ),
    _rule(
        "SG108",
        "contextvar-default",
        "A `ContextVar` has a mutable default",
        why="""
The default of a `ContextVar` is one object. A request that never calls `.set()` gets it from `.get()`, and
what it changes there, every other such request sees.
""",
        leaking="""
from contextvars import ContextVar

TAGS = ContextVar("TAGS", default=[])


def tag(name):
    TAGS.get().append(name)
""",
        repaired="""
from contextvars import ContextVar

TAGS = ContextVar("TAGS", default=())


def tag(name):
    TAGS.set((*TAGS.get(), name))
""",
        fix="use an immutable default and `.set()` a new object for each request",
        ignore="The default is only ever read.",
    ),
    _rule(
        "SG109",
        "cached-mutable",
        "A cached function returns a mutable object",
        why="""
`lru_cache` and `cache` hand the same object to every caller. A caller that appends to the returned list, or
updates the returned dict, changes the answer of every later call.
""",
        leaking="""
from functools import lru_cache


@lru_cache
def defaults():
    return {"model": "small"}


def handle(model):
    options = defaults()
    options["model"] = model
    return options
""",
        repaired="""
from functools import lru_cache
from types import MappingProxyType


@lru_cache
def defaults():
    return MappingProxyType({"model": "small"})


def handle(model):
    return {**defaults(), "model": model}
""",
        fix="return something immutable (`tuple`, `frozenset`, `MappingProxyType`, `freeze(...)`)",
        ignore="No caller changes the result, and none hands it to code that might.",
    ),
    _rule(
        "SG110",
        "cached-without-user",
        "A cached function reads the current request, which is not part of its key",
        why="""
The cache is keyed by the arguments. A function that also looks at the current user, session or `ContextVar`
stores the first user's answer and gives it to everybody who calls with the same arguments.
""",
        leaking="""
from contextvars import ContextVar
from functools import lru_cache

USER = ContextVar("USER")


@lru_cache
def orders(page):
    return f"orders of {USER.get()}, page {page}"
""",
        repaired="""
from contextvars import ContextVar
from functools import lru_cache

USER = ContextVar("USER")


def orders(page):
    return _orders(USER.get(), page)


@lru_cache
def _orders(user, page):
    return f"orders of {user}, page {page}"
""",
        fix="make the user an argument of the cached function",
        ignore="What is read from the request does not change the result.",
    ),
    _rule(
        "SG111",
        "thread-local",
        "A `threading.local` is used in async code, or set and never cleared",
        why="""
On an event loop all requests share one thread, so a thread-local is a global. On a thread pool a value that
is set and never cleared is still there when the next request runs on that thread.
""",
        leaking="""
import threading

_local = threading.local()


def set_tenant(tenant):
    _local.tenant = tenant
""",
        repaired="""
from contextvars import ContextVar

TENANT = ContextVar("TENANT")


def set_tenant(tenant):
    return TENANT.set(tenant)
""",
        fix="use a `ContextVar`, and reset it when the request ends",
        ignore="It holds something that belongs to the thread, not to a request: a connection, a parser.",
    ),
    _rule(
        "SG112",
        "closure-state",
        "Handlers share a variable of the function that created them",
        why="""
An application factory runs once; the handlers defined in it share its local variables for the life of the
process. `nonlocal` and a list in the factory are global variables under another name.
""",
        leaking="""
def create_app(app):
    history = []

    @app.get("/chat")
    def chat(message):
        history.append(message)
        return history

    return app
""",
        repaired="""
from stateguard import scoped


def create_app(app):
    history = scoped(list)

    @app.get("/chat")
    def chat(message):
        history.append(message)
        return list(history)

    return app
""",
        fix="create it inside the handler, or make it per request with `scoped(...)`",
        ignore="The variable is a cache or a counter that holds nothing of a request.",
    ),
    _rule(
        "SG113",
        "client-state",
        "Process settings or state of a third-party client are set per request",
        why="""
`openai.api_key = ...`, `client.headers[...] = ...` and `os.environ[...] = ...` configure the process. A
request that sets them for its user sets them for all requests in flight: calls are made with somebody else's
credentials.
""",
        leaking="""
import os


def handle(token):
    os.environ["API_TOKEN"] = token
""",
        repaired="""
def handle(token, call):
    return call(headers={"Authorization": token})
""",
        fix="pass the value with each call, or create the client per request",
        ignore="The value is the same for all requests, or a command-line program is the only caller.",
    ),
    _rule(
        "SG114",
        "unfrozen-constant",
        "A module-level container is never changed and could be immutable",
        default=False,
        why="""
Nothing in the program changes it today. Declared as a tuple, a frozenset or with `freeze(...)`, nothing can
change it tomorrow: the write that would become a leak fails at once.
""",
        leaking="""
MODELS = ["small", "large"]


def known(model):
    return model in MODELS
""",
        repaired="""
MODELS = ("small", "large")


def known(model):
    return model in MODELS
""",
        fix="declare it as a tuple, a frozenset or with `freeze(...)`",
        ignore="Callers depend on the type being `list` or `dict`. The rule is off unless selected.",
    ),
    _rule(
        "SG198",
        "unused-suppression",
        "A `# stateguard: ignore` comment suppresses nothing",
        why="A suppression that matches nothing hides the next leak on that line.",
        leaking="""
LIMIT = 10  # stateguard: ignore[SG101] was a list once
""",
        repaired="""
LIMIT = 10
""",
        fix="remove the comment",
        ignore="Never: remove the comment instead.",
    ),
    _rule(
        "SG199",
        "unreadable-file",
        "A file could not be read or parsed",
        why="""
What is not read is not audited. The rest of the program is; a file with syntax that is newer than the Python
that runs the audit is reported here as well.
""",
        leaking="""
def broken(:
    pass
""",
        repaired="""
def broken():
    pass
""",
        fix="correct the file, audit with the Python version it is written for, or exclude it",
        ignore="Templates and test data that are not meant to be Python: exclude them with `exclude`.",
    ),
)

RULES: dict[str, Rule] = {rule.code: rule for rule in _CATALOGUE}
"""All rules by code."""

DEFAULT_CODES: frozenset[str] = frozenset(rule.code for rule in _CATALOGUE if rule.default)


def find_rule(text: str) -> Rule | None:
    """A rule by its code or its name, in any case."""
    wanted = text.strip()
    rule = RULES.get(wanted.upper())
    if rule is not None:
        return rule
    return next((one for one in _CATALOGUE if one.name == wanted.lower()), None)
