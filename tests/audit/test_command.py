"""The command line: exit codes, configuration, thresholds, start-up."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from stateguard.audit.options import read_table
from stateguard.commands import stateguard
from stateguard.errors import ConfigError
from tests.audit.conftest import LEAK


def test_exit_codes(leak):
    assert leak.run().exit_code == 1
    assert leak.run("--exit-zero").exit_code == 0
    leak.write("app.py", "x = 1\n")
    assert leak.run().exit_code == 0
    assert "No shared state" in leak.run().stdout


def test_to_have_audited_nothing_is_no_praise(project):
    project.write("tests/test_app.py", LEAK)
    done = project.run()
    assert done.exit_code == 0
    assert "nothing was audited" in done.stdout
    assert "✓" not in done.stdout


def run_process(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "stateguard", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_errors_exit_with_2_and_name_the_fix(leak):
    leak.write("list.json", "[1]")
    for arguments, words in (
        (["audit", "missing"], "no file or directory 'missing'"),
        (["audit", "--select", "SG9"], "no rule is called 'SG9'"),
        (["audit", "--nonsense"], "No such option"),
        (["audit", "--evidence", "missing.jsonl"], "no file or directory 'missing.jsonl'"),
        (["audit", "--ignore", "mutable-defaults"], "Did you mean 'mutable-default'?"),
        (["audit", "--baseline", "missing.json"], "there is no baseline missing.json: write it with"),
        (["audit", "--baseline", "app.py"], "app.py is not a baseline"),
        (["audit", "--baseline", "list.json"], "list.json is not a baseline (it lists no findings)"),
        (["audit", "--diff", "HEAD"], "git"),
        (["audit", "--unsafe-fixes"], "--unsafe-fixes goes with --fix"),
    ):
        done = run_process(*arguments, cwd=leak.root)
        assert done.returncode == 2, arguments
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_extra_names_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['click'] = None; sys.argv = ['stateguard', 'audit'];"
        "from stateguard.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "pip install 'stateguard-middleware[cli]'" in done.stderr


def test_the_audit_imports_no_libcst_and_no_framework(leak):
    program = (
        "import sys; from stateguard.audit import audit; audit(['app.py']);"
        "print([m for m in ('libcst', 'click', 'rich', 'starlette', 'redis') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=leak.root, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_configuration_is_read_and_checked(leak):
    leak.write("pyproject.toml", '[tool.stateguard.audit]\nignore = ["SG101"]\npaths = ["app.py"]\n')
    assert leak.run().exit_code == 0
    assert leak.run("--isolated").exit_code == 1
    leak.write("pyproject.toml", '[tool.stateguard.audit]\nper-path-ignores = { "*.py" = ["SG101"] }\n')
    assert leak.run().exit_code == 0
    for text, words in (
        ("ignored = []", "no option 'ignored'"),
        ('ignore = "SG101"', "must be a list of strings"),
        ('min-severity = "huge"', "must be one of"),
    ):
        leak.write("pyproject.toml", f"[tool.stateguard.audit]\n{text}\n")
        done = run_process("audit", cwd=leak.root)
        assert done.returncode == 2
        assert words in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool]\nstateguard = 4", "[tool.stateguard] must be a table"),
        ("tool = 4", "[tool] must be a table"),
        ("[tool.stateguard]\naudit = []", "[tool.stateguard.audit] must be a table"),
        ('[tool.stateguard.audit]\npaths = "src"', "paths must be a list of strings"),
        ("[tool.stateguard.audit]\nbaseline = 4", "baseline must be the name of a file"),
    ],
)
def test_a_configuration_of_another_shape_is_refused(leak, text, words):
    leak.write("pyproject.toml", text + "\n")
    with pytest.raises(ConfigError) as refused:
        read_table(leak.root / "pyproject.toml")
    assert words in str(refused.value)


def test_a_baseline_that_cannot_be_written_is_said(leak):
    done = run_process("audit", "--write-baseline", "nowhere/base.json", cwd=leak.root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write nowhere/base.json" in done.stderr


def test_quiet_things_are_counted_and_shown_on_request(project):
    project.write("app.py", "N = {'n': 0}\n\n\ndef count():\n    N['n'] += 1\n")
    result = project.run()
    assert result.exit_code == 0
    assert "1 not shown" in result.stdout
    assert project.run("--min-severity", "note").exit_code == 1
    assert project.run("--min-severity", "note", "--min-confidence", "high").exit_code == 0


def test_rule_explains(project):
    text = CliRunner().invoke(stateguard, ["rule", "SG101"], prog_name="stateguard").stdout
    assert "shared-container" in text
    assert "scoped(list)" in text
    assert "SG113" in CliRunner().invoke(stateguard, ["rule"]).stdout
    assert CliRunner().invoke(stateguard, ["rule", "SG9"]).exit_code == 2


def test_processes_find_what_one_process_finds(project):
    for number in range(40):
        project.write(f"m{number}.py", LEAK + "# filler\n" * 5_000)
    one = project.audit(jobs=1)
    many = project.audit(jobs=2)
    assert len(one.findings) == 40
    assert one.findings == many.findings


def test_a_terminal_without_box_characters_gets_question_marks(leak):
    done = subprocess.run(
        [sys.executable, "-m", "stateguard.cli", "audit", "--no-cache"],
        cwd=leak.root,
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 1, done.stderr
    assert b"SG101" in done.stdout


def test_a_closed_pipe_is_no_error(leak):
    for number in range(300):
        leak.write(f"m{number}.py", LEAK)
    program = f"{sys.executable} -m stateguard.cli audit --no-cache | head -1"
    done = subprocess.run(["sh", "-c", program], cwd=leak.root, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_help_and_version():
    done = run_process("--help", cwd=".")
    assert done.returncode == 0
    assert "audit" in done.stdout
    assert run_process("--version", cwd=".").stdout.startswith("stateguard, version")
    assert run_process("audit", "--help", cwd=".").returncode == 0
