"""Files that are none, names that are no names, bytes that are no text: reported, and harmless to print."""

import json
import os

import pytest

from tests.audit.test_changes import git

LEAK = "X = []\n\n\ndef f(user):\n    X.append(user)\n"
STYLES = ("full", "concise", "github", "json", "sarif")


def concise(result):
    return {line.split(": ")[0].rsplit(":", 2)[0]: line for line in result.stdout.splitlines()}


def test_pipes_loops_and_dangling_links_are_reported_and_not_opened(project):
    project.write("pkg/app.py", LEAK)
    root = project.root / "pkg"
    os.mkfifo(root / "pipe.py")
    (root / "loop.py").symlink_to("loop.py")
    (root / "dangling.py").symlink_to("nothing.py")
    (root / "around").symlink_to(root)
    (root / "endless.py").symlink_to("/dev/zero")
    (root / "folder.py").mkdir()
    lines = concise(project.run("--format", "concise", "-q"))
    assert set(lines) == {f"pkg/{name}.py" for name in ("app", "pipe", "loop", "dangling", "endless")}
    assert "is not a regular file" in lines["pkg/pipe.py"]
    assert "is not a regular file" in lines["pkg/endless.py"]


def test_a_broken_cell_does_not_take_its_notebook_along(project):
    cells = ["X = []", "def (", "def f(user):\n    X.append(user)", "%%bash\nls |", "await f(1)\n1 +"]
    rows = [{"cell_type": "code", "source": text} for text in cells]
    project.write("notes.ipynb", json.dumps({"cells": rows}))
    found = json.loads(project.run("--format", "json").stdout)["findings"]
    places = [(one["rule"], one["cell"], one["fixable"]) for one in found]
    assert places == [("SG101", "cell 3, line 2", ""), ("SG199", "cell 2, line 1", "")]


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"cells": {}}', "{}", '{"cells": ' + "[" * 99_999, ""])
def test_what_is_no_notebook_is_reported(project, text):
    project.write("notes.ipynb", text)
    [finding] = json.loads(project.run("--format", "json").stdout)["findings"]
    assert finding["message"].startswith("this file is not a notebook: ")


def test_a_link_is_another_name_and_not_another_file(project):
    project.write("z.py", LEAK)
    (project.root / "a.py").symlink_to("z.py")
    lines = concise(project.run("--format", "concise", "-q"))
    assert set(lines) == {"z.py"}


CODECS = ("undefined", "punycode", "idna", "rot13", "zlib_codec", "utf-16", "cp037", "unicode_escape", "nope")


@pytest.mark.parametrize("codec", CODECS)
def test_any_codec_may_be_named(project, codec):
    project.write("app.py", LEAK)
    (project.root / "other.py").write_bytes(f"# coding: {codec}\n# \xff\nX = []\n".encode("latin-1"))
    lines = concise(project.run("--format", "concise", "-q"))
    assert "app.py" in lines


def test_what_could_move_the_cursor_or_turn_the_text_around_is_printed_as_an_escape(project):
    name = "evil\x1b[31m\x07\n::error::x\u202e.py"
    project.write(name, "X = []\n\n\ndef f(user):\n    X.append('\x1b]0;title\x07' + user)  # \u202e\n")
    for style in STYLES:
        text = project.run("--format", style).stdout
        printed = text if style != "github" else text.partition("::`")[2]  # the file is named as it is
        assert not {"\x1b", "\x07"} & set(printed), style
        if style in ("full", "concise"):
            assert "\u202e" not in text
            assert "\\x1b[31m" in text
    [finding] = json.loads(project.run("--format", "json").stdout)["findings"]
    assert finding["file"] == name


def test_diff_reads_any_name_and_any_link(project):
    project.write("line\nbreak.py", LEAK)
    project.write("zero.py", "\0\0")
    project.write("b.py", LEAK)
    (project.root / "a.py").symlink_to("nothing.py")
    git(project.root, "init", "-q", "-b", "first")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "one")
    result = project.run("--diff", "HEAD", "--format", "concise", "-q")
    assert result.exit_code == 0, result.stdout
    git(project.root, "checkout", "-q", "--orphan", "other")
    git(project.root, "commit", "-qm", "two")
    project.write("new.py", LEAK)
    assert set(concise(project.run("--diff", "first", "--format", "concise", "-q"))) == {"new.py"}
