"""No input makes the audit crash or hang: generated programs, damaged programs, extreme programs."""

import ast
import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stateguard.audit import AuditOptions
from stateguard.audit.collect import SourceFile
from stateguard.audit.facts import dump, load
from stateguard.audit.fix.plan import plan
from stateguard.audit.fix.rewrite import Refused, rewrite
from stateguard.audit.module import read_module
from stateguard.audit.parallel import OWN_FAULT
from stateguard.audit.run import audit_contents
from tests.audit.test_cases import CASES


class Grammar:
    """Random programs out of the constructs that the audit follows, over few names so that they meet."""

    NAMES = ("a", "b", "X", "self", "cls", "app", "request", "C", "f", "HISTORY", "é")
    ATOMS = (
        "[]",
        "{}",
        "set()",
        "1",
        "None",
        "'x'",
        "...",
        "dict(a=[])",
        "-1",
        "f'{X}'",
        "ContextVar('n', default=[])",
    )
    MODULES = ("m0", "m1", "m2", ".", "..", ".m1", "os", "flask", "functools")
    EXPRESSIONS = (
        "({e}).{n}",
        "({e})[{e}]",
        "({e})['k']",
        "({e})[{e}:{e}]",
        "({e})({e})",
        "({n})({e}, *{e}, k={e}, **{e})",
        "({e}).append({e})",
        "({n}).get({e})",
        "({e}).update({e})",
        "({n}).setdefault({e}, [])",
        "({e} or {e})",
        "({e} + {e})",
        "({n} + 1)",
        "(not {e})",
        "({e} if {e} else {e})",
        "[{e} for {n} in {e} if {e}]",
        "{{{e}: {e} for {n} in {e}}}",
        "(lambda {n}={e}: {e})",
        "({n} := {e})",
        "getattr({e}, 'x', {e})",
        "{{'k': {e}, **{e}}}",
        "[{e}, *{e}]",
        "({n} in {e})",
        "({n} is None)",
        "type({e})",
        "super()",
        "globals()",
        "list({e}.items())",
        "Depends({n})",
        "threading.local()",
        "(await_({e}))",
        "functools.partial({n}, {e}, {e})",
        "({e}).get({e}, {e})",
        "{{'k': {e}, 'X': {n}}}['k']",
        "[{e}, {n}][0]",
        "sys.modules[__name__].{n}",
        "list.append({e}, {e})",
        "asyncio.to_thread({n}, {e})",
        "({n}).append",
        "threading.Thread(target={n}, args=({e}, {n}))",
        "{n}(*{e}, **{e})",
        "importlib.import_module('m1').{n}",
    )
    SIMPLE = (
        "{n} = {e}",
        "({e}).{n} = {e}",
        "({e})[{e}] = {e}",
        "{n}, *{n} = {e}",
        "{n} += {e}",
        "({e}).{n} += {e}",
        "{n}: {n} = {e}",
        "del ({e})[{e}]",
        "import {m} as {n}",
        "from {M} import {n} as {n}",
        "raise {e}",
        "assert {e}",
        "{e}",
        "pass",
        "setattr({e}, 'x', {e})",
        "return_ = {n}",
    )
    BLOCKS = (
        "if {e}:\n{b}\nelse:\n{b}", "for {n} in {e}:\n{b}", "for k, {n} in {n}.items():\n{b}",
        "while {e}:\n{b}",
        "with {e} as {n}:\n{b}", "try:\n{b}\nexcept (KeyError, {n}) as e:\n{b}\nfinally:\n{b}",
        "match {e}:\n    case [{n}, *rest]:\n        pass\n    case x:\n        pass",
        "match {e}:\n    case {{'k': {n}, **rest}}:\n{b}\n    case C(x=[{n}, *_]) as y:\n{b}",
        "match {e}:\n    case list() as {n}:\n{b}\n    case [p, q] | (p, q):\n{b}",
        "class {n}(metaclass={n}):\n    def __new__(cls, p={e}):\n{b2}\n        return cls.{n}",
        "def {n}(f):\n    def g(*a, **k):\n{b2}\n        return f(*a, **k)\n    return g",
        "def {n}(p={e}, *args, q=[], **kw):\n    global X\n{b}\n    return {e}",
        "@{e}\nclass {n}({e}):\n    items = []\n{b}", "async def {n}(self, request):\n{b}\n    yield {e}",
        "@app.get('/x')\n@functools.lru_cache\ndef {n}(a: {n} = {e}):\n{b}\n    return {e}",
    )  # fmt: skip

    def __init__(self, seed):
        self.dice = random.Random(seed)

    def source(self):
        return "\n".join(self.statement(3) for _ in range(self.dice.randint(1, 8)))

    def fill(self, template, depth):
        parts = re.split(r"(\{(?:[enbmM]|b2)\})", template)
        return (
            "".join(self.part(p, depth) if re.fullmatch(r"\{(?:[enbmM]|b2)\}", p) else p for p in parts)
            .replace("{{", "{")
            .replace("}}", "}")
        )

    def part(self, part, depth):
        if part == "{n}":
            return self.dice.choice(self.NAMES)
        if part == "{e}":
            return self.expression(depth)
        if part == "{m}":
            return self.dice.choice(("m0", "m1.m2", "os"))
        if part == "{M}":
            return self.dice.choice(self.MODULES)
        lines = "\n".join(self.statement(depth) for _ in range(self.dice.randint(1, 3)))
        indent = "    " * (2 if part == "{b2}" else 1)
        return "\n".join(indent + line for line in lines.split("\n"))

    def expression(self, depth):
        if depth <= 0 or self.dice.random() < 0.45:
            return self.dice.choice(self.NAMES + self.ATOMS)
        return self.fill(self.dice.choice(self.EXPRESSIONS), depth - 1)

    def statement(self, depth):
        if depth > 0 and self.dice.random() < 0.4:
            return self.fill(self.dice.choice(self.BLOCKS), depth - 1)
        return self.fill(self.dice.choice(self.SIMPLE), depth)


def contents(sources):
    rows = []
    for number, text in enumerate(sources):
        name = f"m{number}"
        file = SourceFile(CASES / f"{name}.py", f"{name}.py", name, False)
        rows.append((file, text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")))
    return rows


def audit_sources(*sources):
    options = AuditOptions(root=CASES, min_severity="note", select=("ALL",))
    report = audit_contents(contents(sources), options)
    assert not [f.message for f in report.findings if OWN_FAULT in f.message]
    return report


@given(st.integers(0, 2**32), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_generated_programs_are_audited_and_repaired(seed, modules):
    grammar = Grammar(seed)
    sources = [grammar.source() for _ in range(modules)]
    report = audit_sources(*sources)
    for finding in report.findings:
        json.dumps(finding.to_dict())
        assert finding.line >= 1
        assert finding.column >= 1
    for index, source in enumerate(sources):
        facts = read_module(source, f"m{index}", f"m{index}.py")
        assert load(dump(facts)) == facts
    for file, repairs in plan(report.findings, unsafe=True).items():
        data = sources[int(file[1:-3])].encode()
        try:
            result, _ = rewrite(data, repairs)
        except Refused:
            with pytest.raises(SyntaxError):  # it parses, but it did not compile before either
                compile(data, file, "exec")
        else:
            ast.parse(result)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "surrogatepass")))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read(data):
    audit_sources(data)


@pytest.mark.parametrize("case", sorted(CASES.rglob("*.py")), ids=lambda p: p.name)
def test_damaged_programs_are_read(case):
    source = case.read_text()
    lines = source.splitlines(keepends=True)
    dice = random.Random(case.name)
    for _ in range(15):
        some = [line for line in lines if dice.random() > 0.1]
        dice.shuffle(some) if dice.random() < 0.3 else None
        audit_sources("".join(some))
        cut = dice.randrange(len(source) + 1)
        audit_sources(source[:cut], source[cut:])


EXTREMES = {
    "attributes": "def f(x):\n    x" + ".a" * 3000 + " = 1\n",
    "calls": "def f(x):\n    x" + ".a()" * 900 + "\n",
    "sum": "X = " + " + ".join(["1"] * 2500) + "\n",
    "strings": "X = (" + "\n'a' +" * 900 + " 'b')\n",
    "brackets": "X = " + "[" * 90 + "]" * 90 + "\n",
    "too many brackets": "X = " + "(" * 5000 + ")" * 5000 + "\n",
    "ifs": "".join(" " * i + "if x:\n" for i in range(95)) + " " * 95 + "pass\n",
    "functions": "".join(" " * i + f"def f{i}(a=[]):\n" for i in range(90)) + " " * 90 + "a.append(1)\n",
    "classes": "".join(" " * i + f"class C{i}:\n" for i in range(90)) + " " * 90 + "x = []\n",
    "elifs": "def f(x):\n    if x:\n        pass\n"
    + "".join(f"    elif x == {i}:\n        X.append({i})\n" for i in range(400))
    + "X = []\n",
    "chain of calls": "".join(f"def f{i}(x):\n    f{i + 1}(x)\n" for i in range(2000))
    + "def f2000(x):\n    x.append(1)\nX = []\ndef h(u):\n    f0(X)\n",
    "everything calls everything": "".join(
        f"def f{i}(x, y):\n" + "".join(f"    f{j}(y, x)\n" for j in range(60)) + "    x.append(y)\n"
        for i in range(60)
    ),
    "chain of aliases": "X0 = []\n"
    + "".join(f"X{i + 1} = X{i}\n" for i in range(3000))
    + "def f(u):\n    X3000.append(u)\n",
    "chain of bases": "class C0: items = []\n"
    + "".join(f"class C{i + 1}(C{i}): pass\n" for i in range(400))
    + "def f(c: C400, u):\n    C400().items.append(u)\n",
    "many defaults": "def f("
    + ", ".join(f"a{i}=[]" for i in range(250))
    + "):\n"
    + "".join(f"    a{i}.append(1)\n" for i in range(250)),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_programs_end_soon(name):
    audit_sources(EXTREMES[name])  # ended by pytest's time limit if it hangs


def test_a_file_of_a_hundred_thousand_lines_is_audited():
    parts = [
        f"H{i} = []\n\n\ndef f{i}(user):\n    H{i}.append(user)\n    return H{i}[0]\n\n\n"
        for i in range(12_500)
    ]
    report = audit_sources("".join(parts))
    assert report.lines == 100_000
    assert len(report.findings) == 12_500
