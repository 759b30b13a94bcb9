"""How bad a write is: what it does, what it holds, and who can reach it.

The roles, mildest first. ``counter``: a number goes up. ``lazy``: created when first needed. ``memo``:
looked for before it is stored. ``tasks``: background tasks, kept until they are done. ``registration``:
set-up code that no request is seen to reach. ``reset``: emptied or set to ``None``. ``keyed``: stored
under a computed key, so each caller has an entry of its own. ``seen``: a set of things already met.
``cache``: named like one. ``sum``: a total of numbers. ``pool``: taken out and put back. ``paired``:
added and removed again. ``idle``: no request is seen to reach it and it stores nothing of its caller.
``plain``: everything else, the leak.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stateguard.audit.effects import SharedWrite
from stateguard.audit.facts import FunctionFacts, Write
from stateguard.audit.program import Place
from stateguard.audit.reach import Reach
from stateguard.audit.resolve import Resolver
from stateguard.audit.walk.names import REMOVERS, REQUEST_PROXIES
from stateguard.audit.walk.walker import normal
from stateguard.finding import Certainty
from stateguard.leak import Severity

_REGISTRATION = re.compile(
    r"^_?(un)?(register|configure|config|setup|set_up|init|initiali[sz]e|install|enable|disable|patch|unpatch|"
    r"monkeypatch|bootstrap|load|reload|shutdown|close|start|stop|connect|teardown|add_(plugin|handler|type|converter|"
    r"provider|backend|extension|filter|hook|command|parser|encoder|decoder)|bind|finalize|populate|autodiscover|"
    r"contribute_to_class|ready|mount|(create|make|build)_app(lication)?)(_|$)",
    re.IGNORECASE,
)
_REQUEST_NAMES = re.compile(
    r"(^|_)(request|req|user|username|user_id|uid|session|sid|token|api_key|apikey|password|secret|message|msg|text|"
    r"prompt|query|question|body|payload|form|cookie|cookies|headers|auth|account|tenant|customer|email|ip|scope|"
    r"environ|websocket|ws|history)s?($|_)",
    re.IGNORECASE,
)
_LIVE_OBJECTS = re.compile(
    r"(^|_)(websocket|ws|conn|connection|client|sock|socket|queue|task|fut|future|subscriber|stream|listener|sid|peer|"
    r"timer|job|thread|process|proc|t)s?($|_)",
    re.IGNORECASE,
)

_DECORATED = frozenset(
    {
        "func",
        "fn",
        "f",
        "function",
        "callback",
        "handler",
        "view",
        "method",
        "cls",
        "klass",
        "hook",
        "wrapped",
    }
)

_KEYED = re.compile(r"(?<!!)\[\]")
"""An item taken by a computed key: each caller has its own."""

_CACHE_NAMES = re.compile(r"cache|(?<![a-z])lru|memoi[sz]e", re.IGNORECASE)
_EMPTY = (("k:none",), ("n:list",), ("n:dict",), ("n:set",))
_NOTE_ROLES = frozenset({"counter", "lazy", "memo", "registration", "tasks", "idle", "sum", "pool"})
MILD_OPS = frozenset({"stored", "returned"})
_BOUNDED = frozenset({"memo", "cache", "seen", "reset", "paired", "counter", "lazy"})
"""What a cache with eviction does: filled after a look, and something is taken out again."""
_LOW_ROLES = frozenset({"reset", "keyed", "seen", "paired", "cache"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one write. ``holds`` names the request data that is stored."""

    role: str
    severity: Severity
    status: str
    holds: str


class Judge:
    """Judges the writes of one shared object at a time."""

    def __init__(self, resolver: Resolver, reach: Reach) -> None:
        self.program = resolver.program
        self.resolver = resolver
        self.reach = reach

    def status(self, write: SharedWrite) -> str:
        """``request``, ``unknown`` or ``startup``, for the function that named the shared object."""
        status = self.reach.status(write.root)
        if status == "unknown" and write.function != write.root:
            return status if self.reach.status(write.function) != "startup" else "startup"
        return status

    def verdicts(self, writes: Sequence[SharedWrite], numeric: bool) -> list[Verdict]:
        """One verdict for each write; writes of the same object explain each other (added, removed again)."""
        removes = any(w.write.op == "delitem" or w.write.how in REMOVERS for w in writes)
        tasks = removes and any(_is_task(w.write.value) for w in writes)
        found = [self._verdict(w, removes, tasks, numeric) for w in writes]
        if any(v.role == "pool" for v in found):
            return [replace(v, severity="note") if v.role == "paired" else v for v in found]
        if all(v.role == "paired" for v in found):  # connections, tasks: in while they live, then out again
            return [replace(v, severity="note") for v in found]
        roles = {v.role for v in found}
        if removes and roles & {"memo", "cache"} and roles <= _BOUNDED:
            return [replace(v, severity="note") for v in found]
        if all(v.role in ("reset", "paired") for v in found) and not any(_adds(w) for w in writes):
            return [replace(v, severity="note") for v in found]
        return found

    def _verdict(self, write: SharedWrite, removes: bool, tasks: bool, numeric: bool) -> Verdict:
        status = self.status(write)
        facts = self.program.functions[write.function].facts
        holds = self._held(write, facts)
        role = self._role(write, facts, status, removes, tasks, numeric, holds)
        severity: Severity
        if role == "plain" and status == "unknown" and self.reach.has_entries and not write.write.taint:
            role = "idle"
        if role in _NOTE_ROLES:
            severity = "note"
        elif role in _LOW_ROLES:
            severity = "low" if status == "request" or not self.reach.has_entries else "note"
        elif _is_mild(write):
            severity = "low"
        elif status == "request" and holds:
            severity = "critical"
        else:
            severity = "high"
        return Verdict(role, severity, status, holds)

    def _held(self, write: SharedWrite, facts: FunctionFacts) -> str:
        """The first parameter or request object that the stored value comes from."""
        taint = write.write.taint
        for name in taint:
            if name in REQUEST_PROXIES:
                return name
        for name in taint:
            if _REQUEST_NAMES.search(name):
                return name
        key = write.function
        if key in self.reach.entries.handlers:
            return next((n for n in taint if n in facts.params), "")
        return ""

    def _role(
        self,
        write: SharedWrite,
        facts: FunctionFacts,
        status: str,
        removes: bool,
        tasks: bool,
        numeric: bool,
        holds: str,
    ) -> str:
        one = write.write
        if "c" in one.flags:
            return "counter"
        if numeric and one.op in ("bind+", "attr+", "item+"):
            return "sum"
        if "o" in one.flags:  # ``X = X or make()``
            return "lazy"
        if facts.name == "__getattr__" and not facts.owner:
            return "lazy"  # of a module: a name is looked up once and kept, the same for everybody
        if one.guard.startswith("once:") and self._sets_too(facts, one):
            one = one._replace(guard="lazy")
        if one.guard in ("lazy", "memo"):
            if one.guard == "lazy" and holds and _REQUEST_NAMES.search(holds):
                return "plain"
            if one.guard == "memo" and one.key and holds and _REQUEST_NAMES.search(holds):
                return "plain"
            return one.guard
        if one.how == "move_to_end":
            return "memo"
        if one.guard == "seen":
            return "seen"
        name = facts.name
        if status != "request" and (_REGISTRATION.search(name) or _is_decorator(facts)):
            return "registration"
        if status == "unknown" and self.reach.has_entries and name.startswith("set_") and not holds:
            return "registration"
        if one.value in _EMPTY and not one.taint and one.op in ("bind", "attr"):
            return "reset"
        if one.value == ("k:none",) and one.op == "item":
            return "reset"
        if one.op == "unbind":
            return "plain"
        if one.op in ("delitem", "delattr") or one.how == "clear":
            return "reset"
        if any(
            ref.startswith(one.ref + ".pop") or normal(ref).startswith(one.ref + "[]") for ref in one.value
        ):
            return "pool"
        if tasks and (one.how in REMOVERS or _is_task(one.value)):
            return "tasks"
        if removes and (one.how in REMOVERS or self._live(one.taint, one.value)):
            return "paired"
        if write.place.kind == "E":
            return "plain"  # the environment, a library: no key in there belongs to one caller
        if one.op == "item" and not one.key and not one.taint and one.value == ("k:num",):
            return "counter"
        if one.op in ("item", "item+") and not one.key:
            return "keyed"
        if one.how == "setdefault" and not one.key:
            return "keyed"
        if _KEYED.search(write.place.path) and not self._fixed_members(write.place):
            return "keyed"
        constant = one.op == "item" and bool(one.key) and bool(holds)
        if not constant and _CACHE_NAMES.search(
            f"{write.place.name} {facts.owner} {write.place.owner.rpartition(':')[2]}"
        ):
            return "cache"
        return "plain"

    @staticmethod
    def _sets_too(facts: FunctionFacts, write: Write) -> bool:
        """Whether the function also sets what it looked at: ``if not ready: x = make(); ready = True``."""
        sibling = write.guard.partition(":")[2]
        if write.op in ("bind", "bind+"):
            return any(w.op == "bind" and w.ref == "g:" + sibling for w in facts.writes)
        return any(w.op == "attr" and w.ref == write.ref and w.key == sibling for w in facts.writes)

    def _fixed_members(self, place: Place) -> bool:
        """Whether the container holds objects made at import and no more: then its keys name no callers."""
        base = place._replace(path="", receiver=None)
        if base.kind not in "VA" or self.resolver.flow.stored_in(base):
            return False
        return any(binding.elements for _, _, binding in self.resolver.flow.sources(base))

    @staticmethod
    def _live(taint: tuple[str, ...], value: tuple[str, ...]) -> bool:
        names = [*taint, *(re.split(r"[.:(]", ref)[-1].strip(")0123456789") for ref in value)]
        return any(_LIVE_OBJECTS.search(n) for n in names if n)

    def confidence(self, verdict: Verdict, certain: bool) -> Certainty:
        """How sure the finding is. ``certain`` is false where the object's type is a guess."""
        if verdict.status == "request":
            return "high" if certain else "medium"
        if not self.reach.has_entries:
            return "medium" if certain else "low"
        return "low"


def _is_mild(write: SharedWrite) -> bool:
    """Whether a default is only stored or returned: a hazard, while nobody is seen to change it."""
    return write.write.op in MILD_OPS


def _is_decorator(facts: FunctionFacts) -> bool:
    """Whether the function takes a function and gives it back: code that runs when others are defined."""
    first = facts.params[0] if facts.params else ""
    return first in _DECORATED and "p:" + first in facts.returns


def _is_task(value: tuple[str, ...]) -> bool:
    return any("create_task(" in ref or "ensure_future(" in ref or ".submit(" in ref for ref in value)


def _adds(write: SharedWrite) -> bool:
    """Whether something is put in, not only taken out."""
    one = write.write
    return (
        one.how not in REMOVERS
        and one.op not in ("delitem", "delattr", "unbind")
        and one.value != ("k:none",)
    )
