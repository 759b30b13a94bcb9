"""Baseline, ``--diff``, cache and evidence."""

import importlib
import json
import subprocess
import sys

import pytest

from stateguard import Guard
from stateguard.audit.evidence import confirm, read_evidence
from stateguard.errors import ConfigError
from stateguard.leak import Leak, Location
from tests.audit.conftest import LEAK


def git(root, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(
        ["git", *identity, *arguments],
        cwd=root, check=True, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.fixture
def repository(leak):
    git(leak.root, "init", "-q")
    git(leak.root, "add", ".")
    git(leak.root, "commit", "-qm", "one")
    return leak


def found(result):
    return [(f["rule"], f["target"]) for f in json.loads(result.stdout)["findings"]]


def test_diff_reports_what_the_change_introduces(repository):
    assert found(repository.run("--diff", "HEAD", "--format", "json")) == []
    assert "from before, not shown" in repository.run("--diff", "HEAD").stdout
    repository.write(
        "app.py", "# moved\n" * 10 + LEAK + "\n\n@app.get('/x')\ndef x(user):\n    HISTORY.append(user)\n"
    )
    repository.write("new.py", "X = []\ndef f(user):\n    X.append(user)\n")
    assert found(repository.run("--diff", "HEAD", "--format", "json")) == [
        ("SG101", "app.HISTORY"),
        ("SG101", "new.X"),
    ]


def test_diff_sees_what_the_change_only_made_reachable(repository):
    repository.write("state.py", "LOG = []\n\n\ndef note():\n    LOG.append(1)\n")
    git(repository.root, "add", ".")
    git(repository.root, "commit", "-qm", "two")
    assert found(repository.run("--diff", "HEAD", "--format", "json")) == []
    repository.write(
        "app.py",
        LEAK.replace("HISTORY.append(message)", "note()").replace("HISTORY = []", "from state import note"),
    )
    assert found(repository.run("--diff", "HEAD", "--format", "json")) == [("SG101", "state.LOG")]


def test_diff_ignores_moved_lines_and_deleted_files(repository):
    repository.write("old.py", LEAK)
    git(repository.root, "add", ".")
    git(repository.root, "commit", "-qm", "two")
    (repository.root / "old.py").unlink()
    repository.write("app.py", "\n\n\n" + LEAK)
    result = repository.run("--diff", "HEAD", "--format", "json")
    assert result.exit_code == 0, result.stdout


def test_diff_follows_renamed_files(repository):
    repository.write("src/shop/__init__.py", "")
    repository.write("src/shop/state.py", "LOG = []\nSEEN = set()\n")
    repository.write("src/shop/log.py", "from shop import state\ndef f(x):\n    state.LOG.append(x)\n")
    git(repository.root, "add", ".")
    git(repository.root, "commit", "-qm", "two")
    git(repository.root, "mv", "src/shop/state.py", "src/shop/kept.py")
    text = "from shop import kept\ndef f(x):\n    kept.LOG.append(x)\n"
    repository.write("src/shop/log.py", text)
    git(repository.root, "mv", "app.py", "main.py")
    assert found(repository.run("--diff", "HEAD", "--format", "json")) == []
    repository.write("src/shop/log.py", text + "    kept.SEEN.add(x)\n")
    assert found(repository.run("--diff", "HEAD", "--format", "json")) == [("SG101", "shop.kept.SEEN")]


def test_diff_of_what_lies_above_the_working_directory(repository, monkeypatch):
    (repository.root / "sub").mkdir()
    monkeypatch.chdir(repository.root / "sub")
    assert found(repository.run("--diff", "HEAD", "--format", "json", "..")) == []
    repository.write("app.py", LEAK + "X = []\ndef f(user):\n    X.append(user)\n")
    assert found(repository.run("--diff", "HEAD", "--format", "json", "../app.py")) == [("SG101", "app.X")]


def test_baseline(leak):
    assert leak.run("--write-baseline", "base.json").exit_code == 0
    document = json.loads((leak.root / "base.json").read_text())
    document["findings"][0]["reason"] = "until the rewrite"
    (leak.root / "base.json").write_text(json.dumps(document))
    result = leak.run("--baseline", "base.json")
    assert result.exit_code == 0
    assert "1 known from the baseline" in result.stdout
    leak.write("app.py", "# a line more\n" + LEAK)
    done = leak.run("--baseline", "base.json")
    assert done.exit_code == 0
    assert "✓ Nothing new." in done.stdout
    leak.write("new.py", "X = []\ndef f(user):\n    X.append(user)\n")
    assert leak.run("--baseline", "base.json").exit_code == 1
    leak.run("--write-baseline", "base.json")
    reasons = {
        row["target"]: row["reason"] for row in json.loads((leak.root / "base.json").read_text())["findings"]
    }
    assert reasons == {"app.HISTORY": "until the rewrite", "new.X": ""}
    (leak.root / "new.py").unlink()
    assert "no longer exist" in leak.run("--baseline", "base.json").stdout


def test_a_damaged_baseline_is_an_error(leak):
    leak.write("base.json", "[]")
    from stateguard.audit.baseline import Baseline

    with pytest.raises(ConfigError, match="--write-baseline"):
        Baseline.read(leak.root / "base.json")


def test_the_second_run_is_served_from_the_cache(leak):
    cache = leak.root / ".cache"
    first = leak.audit(cache=cache)
    second = leak.audit(cache=cache)
    assert (first.cached, second.cached) == (0, 1)
    assert first.findings == second.findings
    leak.write("other.py", "Y = 1\n")
    third = leak.audit(cache=cache)
    assert (third.cached, third.files) == (1, 2)
    assert third.findings == first.findings
    leak.write("app.py", "x = 1\n")
    assert leak.audit(cache=cache).findings == ()


def test_facts_survive_the_cache(project):
    from tests.audit.test_cases import CASES

    files = list(CASES.rglob("*.py"))
    from stateguard.audit import AuditOptions, audit

    cache = project.root / "cache"
    options = AuditOptions(root=CASES, cache=cache, exclude=())
    fresh = audit(files, options)
    (cache / "result.json").unlink()
    again = audit(files, options)
    assert again.cached == len(files)
    assert again.findings == fresh.findings


@pytest.mark.parametrize("damage", ["", "x", "{}", "null\n[]", "\x00" * 100])
def test_a_damaged_cache_is_an_empty_cache(leak, damage):
    cache = leak.root / ".cache"
    first = leak.audit(cache=cache)
    for file in cache.glob("*.json*"):
        head = file.read_text().partition("\n")[0].partition("\t")
        file.write_text(
            f"{head[0]}{head[1]}\n{damage}" if file.name == "result.json" else f"{head[0]}\t{damage}\n"
        )
    assert leak.audit(cache=cache).findings == first.findings


def recorded(path, file, line, root=""):
    return Leak(
        path=path, kind="appended", severity="high", reason="", request=None, confidence="exact", suspects=(),
        location=Location(file, line, "chat") if file else None,
        before="", after="", before_hash="", after_hash="", root=root or path,
    )  # fmt: skip


def test_evidence_confirms_findings_and_lists_what_was_missed(leak):
    rows = [
        recorded("app.HISTORY[3]", str(leak.root / "app.py"), 9, "app.HISTORY"),
        recorded("app.HISTORY[4]", "/srv/app/app.py", 9, "app.HISTORY"),
        recorded("lib.cache['x']", "/usr/lib/python3/site-packages/lib.py", 4, "lib.cache"),
        recorded("app.unknown", "", 0),
    ]
    (leak.root / "leaks.jsonl").write_text("".join(json.dumps(r.to_dict()) + "\n" for r in rows) + "\n")
    document = json.loads(leak.run("--evidence", "leaks.jsonl", "--format", "json").stdout)
    assert [f["confirmed"] for f in document["findings"]] == [2]
    assert {m["path"] for m in document["missed"]} == {"lib.cache", "app.unknown"}
    text = leak.run("--evidence", "leaks.jsonl").stdout
    assert "seen at runtime 2×" in text
    assert "not found by the audit" in text


def test_missed_leaks_alone_fail_the_run(project):
    project.write("app.py", "x = 1\n")
    project.write("leaks.jsonl", json.dumps(recorded("app.y", "app.py", 1).to_dict()))
    assert project.run("--evidence", "leaks.jsonl").exit_code == 1


def test_evidence_that_is_none_is_an_error_and_a_cut_line_is_not(project):
    path = project.write("leaks/one.jsonl", '{"path": "a"}\n[]\n')
    with pytest.raises(ConfigError, match=r"one\.jsonl is a recorded leak \(2 lines were read\)"):
        read_evidence([path])
    with pytest.raises(ConfigError, match="there is no file or directory"):
        read_evidence([project.root / "nothing.jsonl"])
    line = json.dumps(recorded("app.y", "app.py", 1).to_dict())
    project.write("leaks/two.jsonl", f"{line}\n{line}\n{line[:40]}")
    [leak] = read_evidence([project.root / "leaks"])
    assert (leak.path, leak.line) == ("app.y", 1)


def test_evidence_is_what_a_guard_has_written(project, monkeypatch):
    """The whole way: a guarded application, its directory of leaks, the audit."""
    project.write("evident.py", "HISTORY = []\n\n\ndef f(user):\n    HISTORY.append(user)\n")
    monkeypatch.syspath_prepend(project.root)
    module = importlib.import_module("evident")
    guard = Guard(watch=["evident"], report_to=str(project.root / "leaks"), on_leak="log", locate="always")
    try:
        for number in range(3):
            with guard.request(f"/f/{number}"):
                module.f("ann")
    finally:
        guard.close()
        del sys.modules["evident"]
    document = json.loads(project.run("evident.py", "--evidence", "leaks", "--format", "json").stdout)
    assert [(f["target"], f["confirmed"]) for f in document["findings"]] == [("evident.HISTORY", 3)]
    assert document["missed"] == []


def test_evidence_of_an_instance_matches_its_attribute(project):
    text = "class A:\n    def __init__(self):\n        self.m = []\n\n\na = A()\n\n\n"
    text += "def f(user):\n    a.m.append(user)\n"
    project.write("app.py", text)
    project.write("leaks.jsonl", json.dumps(recorded("app.a.m[0]", "", 0, "app.a").to_dict()))
    report = confirm(project.audit("app.py"), read_evidence([project.root / "leaks.jsonl"]), project.root)
    assert [f.confirmed for f in report.findings] == [1]
