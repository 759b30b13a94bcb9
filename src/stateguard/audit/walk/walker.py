"""The state of the walk through one scope, and how a name, a write and a call are recorded.

Local names are followed in the order of the statements (``h = HISTORY`` then ``h = list(h)`` ends the alias),
and the two branches of an ``if`` are joined. Bodies of nested functions wait until the enclosing scope has
been read, because they see all of its names.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from stateguard.audit.facts import Call, ClassFacts, FunctionFacts, ModuleFacts, Refs, Write
from stateguard.audit.walk.names import REQUEST_PROXIES

UNKNOWN: Refs = ("?",)
MAX_REF = 160
"""References longer than this stop being followed: nobody shares state through forty attributes."""
MAX_ALTERNATIVES = 6

Env = dict[str, Refs]
Placed = ast.stmt | ast.expr
"""Nodes that know their line and column."""


def join(first: Refs, second: Refs) -> Refs:
    """What a name may refer to after two branches."""
    if first == second:
        return first
    merged = first + tuple(ref for ref in second if ref not in first)
    return merged if len(merged) <= MAX_ALTERNATIVES else merged[:MAX_ALTERNATIVES]


class Walker:
    """The walk through one scope: a module, a class body or a function."""

    __slots__ = (
        "class_facts",
        "deferred",
        "elements",
        "env",
        "fn",
        "global_names",
        "guards",
        "history",
        "kind",
        "loads",
        "lock",
        "module",
        "nonlocal_names",
        "package",
        "parent",
        "prefix",
        "reads",
        "taint",
    )

    def __init__(
        self,
        kind: str,
        module: ModuleFacts,
        package: str,
        fn: FunctionFacts,
        parent: Walker | None = None,
        class_facts: ClassFacts | None = None,
        prefix: str = "",
    ) -> None:
        self.kind = kind
        self.module = module
        self.package = package
        self.fn = fn
        self.parent = parent
        self.class_facts = class_facts
        self.prefix = prefix
        self.env: Env = {}
        self.history: dict[str, Refs] = {}
        self.taint: dict[str, Refs] = {}
        self.reads: list[str] = []
        self.guards: list[str] = []
        self.loads: list[str] | None = None
        self.lock = ""
        self.elements: list[str] | None = None
        self.global_names: frozenset[str] | set[str] = frozenset()
        self.nonlocal_names: dict[str, str] = {}
        self.deferred: list[Callable[[], None]] = []

    # -- names ---------------------------------------------------------------------------------

    def name(self, name: str) -> Refs:
        """What a loaded name refers to."""
        refs = self.env.get(name)
        if refs is not None:
            found = self.taint.get(name)
            if found:
                self.reads.extend(found)
            return refs
        if self.kind == "module" or name in self.global_names:
            return ("g:" + name,)
        if name in REQUEST_PROXIES:
            self.reads.append(name)
            if name not in self.fn.context_reads:
                self.fn.context_reads.append(name)
        scope = self.parent
        while scope is not None:
            if scope.kind == "function" and (name in scope.history or name in scope.fn.params):
                scope.capture(name)
                return (f"f:{scope.fn.qual}:{name}",)
            scope = scope.parent
        return ("g:" + name,)

    def capture(self, name: str) -> None:
        """Note that a nested function uses a local of this one, so that its values are kept."""
        if name not in self.fn.captured:
            own = ("p:" + name,) if name in self.fn.params else ()
            self.fn.captured[name] = list(join(own, self.history.get(name, ())))

    def bind(self, name: str, refs: Refs, taint: Refs = (), line: int = 0) -> None:
        """Record that a local name now refers to something."""
        self.env[name] = refs
        before = self.history.get(name)
        if before is None:
            self.history[name] = refs
            if line and self.kind == "function":
                self.fn.captured_at[name] = line
        elif before != refs:
            self.history[name] = join(before, refs)
        if taint:
            self.taint[name] = taint
        elif name in self.taint:
            del self.taint[name]

    # -- what is done ----------------------------------------------------------------------------

    def write(
        self,
        op: str,
        refs: Refs,
        node: Placed,
        how: str = "",
        key: str = "",
        value: Refs = (),
        taint: Refs = (),
        flags: str = "",
    ) -> None:
        """Record a write, once for each object it may change; new objects are nobody's business."""
        for ref in refs:
            if ref[0] in "nk?dh":
                continue
            self.fn.writes.append(
                Write(
                    ref,
                    op,
                    node.lineno,
                    node.col_offset,
                    node.end_lineno or 0,
                    node.end_col_offset or 0,
                    how,
                    key,
                    value,
                    taint,
                    self.guard_of(op, ref, how, key),
                    self.lock,
                    flags,
                )
            )

    def guard_of(self, op: str, ref: str, how: str, key: str) -> str:
        """``lazy`` or ``memo`` when the code first looked whether what it writes is already there.

        ``once:ready`` when it looked at another name or attribute, ``ready``, beside what it writes.
        """
        guards = self.guards
        if not guards:
            return ""
        ref = normal(ref)
        if op in ("bind", "bind+"):
            siblings = [g for g in guards if g[:2] == "g:" and "." not in g and "[" not in g]
            return "lazy" if ref in guards else f"once:{siblings[0][2:]}" if siblings else ""
        if op in ("attr", "attr+"):
            # ``ref`` itself in the guards: the attributes of what was just made because it was missing.
            if {f"{ref}.{key}", f"{ref}.__dict__[]", ref} & set(guards):
                return "lazy"
            siblings = [g[len(ref) + 1 :] for g in guards if g.startswith(ref + ".")]
            return f"once:{siblings[0]}" if siblings else ""
        if op in ("item", "item+"):
            return "memo" if ref + "[]" in guards or ref in guards else ""
        if op == "call" and ref in guards:
            return "lazy"
        if op == "call" and ref + "[]" in guards:
            return "memo" if how in ("setdefault", "update") else "seen"
        return ""

    def call(
        self,
        callee: str,
        args: tuple[Refs, ...],
        kwargs: dict[str, Refs],
        node: Placed,
        text: str = "",
        methods: str = "",
        later: bool = False,
    ) -> str:
        """Record a call and return the reference to its result."""
        calls = self.fn.calls
        line, column = node.lineno, node.col_offset
        calls.append(Call(callee, args, kwargs, line, column, text, methods, self.lock, later))
        if len(callee) > MAX_REF:
            return "?"
        return f"{callee}({len(calls) - 1})"

    def taint_since(self, mark: int) -> Refs:
        """The parameters and request objects that were read since ``mark`` (a length of :attr:`reads`)."""
        reads = self.reads
        if len(reads) == mark:
            return ()
        return tuple(dict.fromkeys(reads[mark:]))

    # -- branches ----------------------------------------------------------------------------------

    def fork(self) -> tuple[Env, dict[str, Refs]]:
        """The state to come back to at the other branch."""
        return self.env.copy(), self.taint.copy()

    def merge(self, env: Env, taint: dict[str, Refs]) -> None:
        """Join another branch's state into this one."""
        own = self.env
        for name, refs in env.items():
            mine = own.get(name)
            if mine is None:
                own[name] = refs
            elif mine is not refs:
                own[name] = join(mine, refs)
        for name, names in taint.items():
            mine = self.taint.get(name)
            self.taint[name] = names if mine is None else join(mine, names)

    def run_deferred(self) -> None:
        """Read the bodies of the functions and classes that were waiting for this scope."""
        waiting, self.deferred = self.deferred, []
        for one in waiting:
            one()


def normal(ref: str) -> str:
    """A reference as guards compare it: ``X.get(3)`` and ``X.pop(3)`` read like ``X[]``."""
    while ref.endswith(")"):
        cut = ref.rfind("(")
        base = ref[:cut]
        if base.endswith((".get", ".pop")):
            ref = base[:-4] + "[]"
        elif base.endswith(".setdefault"):
            ref = base[:-11] + "[]"
        else:
            break
    return ref.replace("![]", "[]")


def attribute(refs: Refs, name: str) -> Refs:
    """The attribute ``name`` of what ``refs`` names."""
    if len(refs) == 1:
        ref = refs[0]
        root = ref[0]
        if root in "nk":
            return UNKNOWN
        if root == "?":
            return ("?." + name,)
        if len(ref) > MAX_REF:
            return UNKNOWN
        return (ref + "." + name,)
    return tuple(f"{r}.{name}" for r in refs if r[0] not in "nk?" and len(r) <= MAX_REF) or UNKNOWN


def item(refs: Refs, step: str = "[]") -> Refs:
    """An item of what ``refs`` names; ``![]`` says that the key is a constant."""
    found = tuple(
        (r[:-1] + step if r[-1] == "~" else r + step) for r in refs if r[0] not in "nk?" and len(r) <= MAX_REF
    )
    return found or UNKNOWN


def shallow(refs: Refs) -> Refs:
    """A shallow copy: a new container with the same members."""
    return tuple(r if r[-1] == "~" else r + "~" for r in refs if r[0] not in "nk?") or ("n:list",)
