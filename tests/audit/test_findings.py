"""What a finding carries."""

LOCKED = """\
import threading
from fastapi import FastAPI

app = FastAPI()
LOCK = threading.Lock()
HISTORY = []


def remember(log, text):
    with LOCK:
        log.append(text)


@app.post("/chat")
def chat(message: str):
    remember(HISTORY, message)


@app.get("/clear")
def clear():
    HISTORY.clear()
"""


def test_a_finding_names_object_writes_and_the_way_from_a_request(project):
    [finding] = project.findings(LOCKED)
    assert finding.rule == "SG101"
    assert finding.target == "app.HISTORY"
    assert (finding.defined_at.file, finding.defined_at.line) == ("app.py", 6)
    assert [w.line for w in finding.writes] == [11, 21]
    assert finding.reachable_from == ("POST /chat",)
    assert finding.trail == ("chat", "remember")
    assert finding.function == "remember"
    assert (finding.severity, finding.confidence) == ("critical", "high")


def test_a_lock_changes_the_words_and_not_the_verdict(project):
    [finding] = project.findings(LOCKED)
    assert finding.writes[0].lock == "LOCK"
    assert any("LOCK" in note and "order" in note for note in finding.notes)
    [without] = project.findings(LOCKED.replace("    with LOCK:\n        log", "    if True:\n        log"))
    assert without.severity == finding.severity
    assert not any("LOCK" in note for note in without.notes)


def test_the_call_that_passed_the_object_is_named(project):
    [finding] = project.findings(LOCKED)
    assert finding.writes[0].through[0].line == 16
    assert any("app.py:16" in note for note in finding.notes)


def test_what_no_entry_point_reaches_is_less_certain(project):
    text = LOCKED + "\n\ndef elsewhere(user):\n    OTHER.append(user)\n\n\nOTHER = []\n"
    by_target = {f.target: f for f in project.findings(text)}
    assert by_target["app.OTHER"].confidence == "low"
    assert by_target["app.OTHER"].reachable_from == ()


def test_without_entry_points_every_function_may_serve_a_request(project):
    [finding] = project.findings("LOG = []\n\n\ndef note(user):\n    LOG.append(user)\n")
    assert (finding.severity, finding.confidence) == ("high", "medium")


def test_import_time_and_startup_writes_are_no_findings(project):
    text = """\
from contextlib import asynccontextmanager
from fastapi import FastAPI

NAMES = []
MODELS = {}


def register(name):
    NAMES.append(name)


register("one")


@asynccontextmanager
async def lifespan(app):
    MODELS["main"] = load()
    yield
    MODELS.clear()


def load():
    NAMES.append("loaded")
    return object()


app = FastAPI(lifespan=lifespan)


@app.get("/")
def home():
    return NAMES
"""
    assert project.findings(text, min_severity="note") == ()


def test_columns_count_characters(project):
    text = "LOG = []\n\n\ndef note(user):\n    x = 'äöü€'; LOG.append(user)\n"
    [finding] = project.findings(text)
    assert text.splitlines()[4][finding.column - 1 : finding.end_column - 1] == "LOG.append(user)"


def test_a_file_that_does_not_parse_does_not_stop_the_rest(leak):
    leak.write("broken.py", "def broken(:\n")
    leak.write("newer.py", "def f[T](x: T) -> T:\n    return x\n\n\ntype X = int\n")
    leak.write("nul.py", "x = 1\0\n")
    (leak.root / "bad_encoding.py").write_bytes(b"# coding: no-such-codec\nx = 1\n")
    (leak.root / "not_utf8.py").write_bytes(b"x = '\xff\xfe'\n")
    report = leak.audit()
    rules = {(f.file, f.rule) for f in report.findings}
    assert ("app.py", "SG101") in rules
    for name in ("broken.py", "nul.py", "bad_encoding.py", "not_utf8.py"):
        assert (name, "SG199") in rules


def test_other_encodings_are_read(project):
    (project.root / "latin.py").write_bytes(
        "# -*- coding: latin-1 -*-\nNAMES = []\n\n\ndef f(x):\n    'é'; NAMES.append(x)\n".encode("latin-1")
    )
    (project.root / "bom.py").write_bytes(
        b"\xef\xbb\xbfNAMES = []\r\n\r\n\r\ndef f(x):\r\n    NAMES.append(x)\r\n"
    )
    assert [(f.file, f.line) for f in project.audit().findings] == [("bom.py", 5), ("latin.py", 6)]


def test_the_audited_code_is_never_imported_or_run(project, monkeypatch):
    project.write(
        "evil.py", "open('ran', 'w').close()\nraise SystemExit('imported')\nX = []\ndef f(x): X.append(x)\n"
    )
    assert [f.rule for f in project.audit().findings] == ["SG101"]
    assert not (project.root / "ran").exists()


def test_tests_docs_and_environments_are_left_out_unless_named(leak):
    for name in (
        "tests/test_a.py",
        "docs/conf.py",
        ".venv/lib/a.py",
        "node_modules/a.py",
        "migrations/0001.py",
    ):
        leak.write(name, "X = []\ndef f(x): X.append(x)\n")
    assert {f.file for f in leak.audit().findings} == {"app.py"}
    assert {f.file for f in leak.audit("tests/test_a.py").findings} == {"tests/test_a.py"}
    assert "docs/conf.py" in {f.file for f in leak.audit(exclude=()).findings}


def test_a_notebook_is_read_by_cell(project):
    import json

    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "LOG = []\n", "!ls\n"]},
        {"cell_type": "code", "source": "%%bash\nrm -rf x"},
        {"cell_type": "code", "source": "def note(user):\n    LOG.append(user)"},
    ]
    project.write("book.ipynb", json.dumps({"cells": cells, "nbformat": 4}))
    project.write("broken.ipynb", "{")
    found = {f.file: f for f in project.audit().findings}
    assert found["book.ipynb"].cell == "cell 4, line 2"
    assert found["broken.ipynb"].rule == "SG199"


def test_cyclic_imports_and_aliases_end(project):
    project.write("a.py", "from b import X as Y\nfrom b import *\nZ = Y\ndef f(v): Z.append(v)\n")
    project.write("b.py", "from a import Z as X\nfrom a import *\nW = X\ndef g(v): W.append(v)\n")
    project.write("c.py", "C = D\nD = C\nclass A(B): pass\nclass B(A): items = []\ndef h(v): C.append(v)\n")
    project.audit()
