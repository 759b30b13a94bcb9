"""Comments, per-path ignores and selection."""

import pytest

from stateguard.audit.options import expand
from stateguard.errors import ConfigError

CODE = """\
A = []{definition}
B = []


def f(user):
    A.append(user){first}
    B.append(user)
    A.insert(0, user){second}
"""


def code(definition="", first="", second=""):
    return CODE.format(definition=definition, first=first, second=second)


def targets(findings):
    return [f.target if f.target else f.rule for f in findings]


@pytest.mark.parametrize(
    "comment",
    [
        "  # stateguard: ignore[SG101] known",
        "  # stateguard: ignore",
        "  # stateguard:ignore[shared-container]",
        "  # stateguard: ignore[SG1]",
    ],
)
def test_a_comment_at_the_definition_suppresses_the_finding(project, comment):
    assert targets(project.findings(code(definition=comment))) == ["app.B"]


@pytest.mark.parametrize(
    ("first", "last"), [("  # stateguard: ignore[SG101] first", ""), ("", "  # stateguard: ignore")]
)
def test_a_comment_at_either_end_of_a_definition_of_many_lines(project, first, last):
    lines = f"""\
A = [{first}
    1,  # one

    2,
]{last}
B = {{
    "x": 1,  # stateguard: ignore[SG101] within it, this covers its own line only
}}


def f(user):
    A.append(user)
    B["x"] = user
"""
    assert targets(project.findings(lines)) == ["app.B", "SG198"]


def test_a_comment_at_one_write_leaves_the_others(project):
    first, _ = project.findings(code(first="  # stateguard: ignore[SG101] bounded"))
    assert (first.target, first.line, len(first.writes)) == ("app.B", 7, 1)
    both = project.findings(code(first="  # stateguard: ignore", second="  # stateguard: ignore"))
    assert targets(both) == ["app.B"]


def test_a_comment_on_the_line_above_covers_the_next_line(project):
    text = code().replace(
        "    A.append", "    # stateguard: ignore[SG101] fine\n    # and more\n    A.append"
    )
    [one, two] = project.findings(text)
    assert [w.line for f in (one, two) for w in f.writes] == [9, 10]


def test_a_file_can_be_suppressed(project):
    assert project.findings("# stateguard: ignore-file[SG101] generated\n" + code()) == ()


def test_an_unused_or_unknown_suppression_is_reported(project):
    found = project.findings(
        "X = 1  # stateguard: ignore[SG101] was a list\nY = 2  # stateguard: ignore[SG777]\n"
    )
    assert [(f.rule, f.line) for f in found] == [("SG198", 1), ("SG198", 2)]
    assert "SG777" in found[1].message


def test_a_suppression_of_a_rule_that_was_not_looked_for_is_not_called_unused(project):
    text = code(definition="  # stateguard: ignore[SG102]")
    assert "SG198" not in {f.rule for f in project.findings(text, ignore=("SG102",))}
    assert "SG198" in {f.rule for f in project.findings(text)}


def test_select_and_ignore(project):
    text = code() + "\n\ndef g(x, y=[]):\n    y.append(x)\n"
    assert {f.rule for f in project.findings(text)} == {"SG101", "SG105"}
    assert {f.rule for f in project.findings(text, select=("SG105",))} == {"SG105"}
    assert {f.rule for f in project.findings(text, ignore=("mutable-default",))} == {"SG101"}
    assert {f.rule for f in project.findings("A = [1]\n", select=("SG114",))} == {"SG114"}
    assert {f.rule for f in project.findings("A = [1]\n", extend_select=("SG114",))} == {"SG114"}
    assert project.findings("A = [1]\n") == ()


def test_per_path_ignores(project):
    text = code()
    assert project.findings(text, per_path_ignores=(("*.py", ("SG101",)),)) == ()
    assert project.findings(text, per_path_ignores=(("other/*", ("SG101",)),)) != ()


def test_an_unknown_rule_says_where_the_rules_are_listed():
    with pytest.raises(ConfigError, match="stateguard rule"):
        expand(["SG9"])


def test_a_string_that_looks_like_a_comment_is_none(project):
    assert project.findings('"""\n# stateguard: ignore[SG101]\n"""\nX = "# stateguard: ignore"\n') == ()
