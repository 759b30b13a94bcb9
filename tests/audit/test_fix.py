"""``--fix``: only what is asked for, nothing else in the file, and nothing the second time."""

import ast
import textwrap

import pytest

from stateguard.audit.fix.apply import repair_files
from stateguard.audit.fix.plan import plan
from tests.audit.test_cases import CASES, PROGRAMS


def repaired(project, text, *, unsafe=False, select=()):
    """The text after repairs; checks that it compiles and that a second run changes nothing."""
    path = project.write("app.py", textwrap.dedent(text))
    for turn in (1, 2):
        report = project.audit("app.py", select=select, min_severity="note")
        before = path.read_bytes()
        outcome = repair_files(plan(report.findings, unsafe), project.root, write=True)
        assert not outcome.refused
        if turn == 2:
            assert path.read_bytes() == before
    ast.parse(path.read_bytes())
    return path.read_bytes().decode()


def test_a_container_becomes_scoped_with_its_import(project):
    text = """\
        '''Doc.'''
        import os

        HISTORY = []  # everything said
        BY_KEY: dict[str, int] = {"a": 1}


        def f(user):
            HISTORY.append(user)
            BY_KEY["last"] = user
        """
    assert repaired(project, text) == textwrap.dedent(text)
    assert repaired(project, text, unsafe=True) == textwrap.dedent(
        """\
        '''Doc.'''
        import os

        from stateguard import scoped

        HISTORY = scoped(list)  # everything said
        BY_KEY: dict[str, int] = scoped(lambda: {"a": 1})


        def f(user):
            HISTORY.append(user)
            BY_KEY["last"] = user
        """
    )


def test_a_default_that_reads_names_is_not_moved_where_they_mean_something_else(project):
    text = """\
        class Shop:
            first = 1

            def add(self, item, items=[first]):  # in the body, `first` would be no name at all
                items.append(item)


        def shadowed(item, first=None, items=[first]):
            items.append(item)


        def asks(item, items=[]):
            if items is None:
                return
            items.append(item)


        keep = lambda item, items=[]: items.append(item)
        A = B = []
        C, D = [], []


        def f(user):
            A.append(user)
            B.append(user)
            C.append(user)
            D.append(user)
        """
    text = "first = 0\n" + textwrap.dedent(text)
    assert repaired(project, text, unsafe=True) == text
    assert {one.fixable for one in project.audit("app.py").findings} == {""}


def test_a_default_that_reads_a_name_is_moved_only_when_asked_for(project):
    text = """\
        def made(item, items=[Y], more=[n for n in range(3)]):
            items.append(item)
            more.append(item)
        """
    text = "Y = 1\n" + textwrap.dedent(text)
    moved = "    more = [n for n in range(3)] if more is None else more\n"
    once = text.replace("[n for n in range(3)]", "None").replace("):\n", "):\n" + moved)
    assert repaired(project, text) == once
    assert "    items = [Y] if items is None else items\n" in repaired(project, text, unsafe=True)


def test_a_docstring_that_shares_its_line_stays_one(project):
    text = 'def f(item, items=[]):\n    # why\n    "Doc."; items.append(item)  # so\n'
    guard = "    items = [] if items is None else items\n"
    wanted = f'def f(item, items=None):\n    # why\n    "Doc."\n{guard}    items.append(item)  # so\n'
    assert repaired(project, text) == wanted


def test_a_default_becomes_none_with_a_guard_line(project):
    text = """\
        def f(item, seen=[], *, names: "list" = [], options: dict[int, int] = {}): # why
            \"\"\"Doc.\"\"\"

            # a comment
            seen.append(item)
            names.append(item)
            options["x"] = item
            return seen


        def one_line(x, y=[]): y.append(x); return y


        async def g(x, /, y: list=list()) -> None:
            y.append(x)
        """
    assert repaired(project, text) == textwrap.dedent(
        """\
        def f(item, seen=None, *, names: "list | None" = None, options: dict[int, int] | None = None): # why
            \"\"\"Doc.\"\"\"
            seen = [] if seen is None else seen
            names = [] if names is None else names
            options = {} if options is None else options

            # a comment
            seen.append(item)
            names.append(item)
            options["x"] = item
            return seen


        def one_line(x, y=None):
            y = [] if y is None else y
            y.append(x)
            return y


        async def g(x, /, y: list | None=None) -> None:
            y = list() if y is None else y
            y.append(x)
        """
    )


def test_a_contextvar_default_becomes_immutable(project):
    text = """\
        from contextvars import ContextVar
        from stateguard import scoped

        TAGS = ContextVar("TAGS", default=[])
        OPTIONS: ContextVar[dict] = ContextVar("OPTIONS", default={})
        ONE = scoped(list)


        def tag(name):
            return TAGS.get(), OPTIONS.get()
        """
    assert repaired(project, text, unsafe=True) == textwrap.dedent(text).replace(
        "default=[]", "default=()"
    ).replace("default={}", "default=freeze({})").replace("import scoped", "import scoped, freeze")


def test_constants_become_immutable(project):
    text = """\
        NAMES = [
            "a",  # first
            "b",
        ]
        ONE = ["x"]
        SOME = {1, 2}
        MAP = {"a": [1]}
        NESTED = [[1], [2]]
        """
    assert repaired(project, text, unsafe=True, select=("SG114",)) == textwrap.dedent(
        """\
        from stateguard import freeze

        NAMES = (
            "a",  # first
            "b",
        )
        ONE = ("x",)
        SOME = frozenset({1, 2})
        MAP = freeze({"a": [1]})
        NESTED = freeze([[1], [2]])
        """
    )


def test_line_endings_encoding_and_blank_ends_stay(project):
    source = "# coding: latin-1\r\nX = []  # \xe9\r\n\r\n\r\ndef f(user):\r\n\tX.append(user)   \r\n\r\n"
    path = project.root / "app.py"
    path.write_bytes(source.encode("latin-1"))
    repair_files(plan(project.audit("app.py").findings, True), project.root, write=True)
    expected = source.replace("X = []", "X = scoped(list)").replace(
        "# coding: latin-1\r\n", "# coding: latin-1\r\nfrom stateguard import scoped\r\n\r\n"
    )
    assert path.read_bytes().decode("latin-1").replace("\r\n\r\nX", "\r\nX") == expected.replace(
        "\r\n\r\nX", "\r\nX"
    )


def test_a_name_that_is_taken_or_rebound_is_left_alone(project):
    taken = "def scoped(x):\n    return x\n\n\nX = []\n\n\ndef f(user):\n    X.append(user)\n"
    assert repaired(project, taken, unsafe=True) == taken
    rebound = "X = []\n\n\ndef f(user):\n    global X\n    X.append(user)\n    X = [user]\n"
    assert repaired(project, rebound, unsafe=True) == rebound


def test_a_lambda_default_is_left_alone(project):
    text = "add = lambda x, seen=[]: seen.append(x)\n"
    assert repaired(project, text, unsafe=True) == text


def test_a_closure_variable_becomes_scoped(project):
    text = (CASES / "sg112_cases.py").read_text()
    assert "    history = scoped(list)\n" in repaired(project, text, unsafe=True)


@pytest.mark.parametrize("case", [p for p in PROGRAMS if p.is_file()], ids=lambda p: p.name)
def test_every_case_survives_its_repairs(project, case):
    repaired(project, case.read_text(), unsafe=True, select=("ALL",))


def test_the_command_repairs_and_looks_first(leak):
    before = (leak.root / "app.py").read_text()
    result = leak.run("--fix", "--unsafe-fixes", "--diff", ".")
    assert result.exit_code == 1
    assert "+HISTORY = scoped(list)" in result.stdout
    assert (leak.root / "app.py").read_text() == before
    assert leak.run("--fix").exit_code == 1
    assert (leak.root / "app.py").read_text() == before
    result = leak.run("--fix", "--unsafe-fixes")
    assert result.exit_code == 0, result.stdout
    assert "1 repaired, 0 left" in result.stdout
    assert "HISTORY = scoped(list)" in (leak.root / "app.py").read_text()
    assert leak.run().exit_code == 0


def test_a_file_that_libcst_cannot_read_is_left_alone(leak, monkeypatch):
    findings = leak.audit().findings
    (leak.root / "app.py").write_text("def (")
    outcome = repair_files(plan(findings, True), leak.root, write=True)
    assert "app.py" in outcome.refused
    assert (leak.root / "app.py").read_text() == "def ("


def test_a_symbolic_link_and_the_file_mode_stay(leak):
    real = leak.root / "real.txt"
    (leak.root / "app.py").rename(real)
    real.chmod(0o750)
    (leak.root / "app.py").symlink_to(real)
    repair_files(plan(leak.audit().findings, True), leak.root, write=True)
    assert (leak.root / "app.py").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o750
    assert "scoped" in real.read_text()
