"""The catalogue: every example does what it says, every page is the catalogue's."""

import re
from pathlib import Path

import pytest

from stateguard.report import rule_page
from stateguard.rules import DEFAULT_CODES, DOCUMENTATION, RULES, find_rule

PAGES = Path(__file__).parents[2] / "docs" / "rules"


def write(project, text):
    """An example: one module, or several that begin with ``# name.py`` lines."""
    parts = re.split(r"(?m)^# (\w+\.py)\n", text)
    if len(parts) == 1:
        project.write("example.py", text)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        project.write(name, body)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.code)
def test_the_leaking_example_is_found_and_the_repaired_one_is_not(project, rule):
    write(project, rule.leaking)
    assert rule.code in {f.rule for f in project.audit(extend_select=(rule.code,)).findings}
    for file in project.root.glob("*.py"):
        file.unlink()
    write(project, rule.repaired)
    assert project.audit(extend_select=(rule.code,)).findings == ()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.code)
def test_examples_compile(rule):
    compile(rule.repaired, rule.code, "exec", dont_inherit=True)
    if rule.code != "SG199":
        compile(rule.leaking, rule.code, "exec", dont_inherit=True)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.code)
def test_the_page_is_the_catalogues(rule):
    page = PAGES / f"{rule.code}.md"
    assert page.read_text() == rule_page.render(rule), (
        "write the pages again: stateguard rule --pages docs/rules"
    )


def test_the_index_lists_every_rule_and_nothing_is_left_over():
    assert (PAGES / "index.md").read_text() == rule_page.render_index(RULES.values())
    assert {p.stem for p in PAGES.glob("SG*.md")} == set(RULES)


def test_codes_names_and_defaults():
    assert all(re.fullmatch(r"SG1\d\d", code) for code in RULES)
    assert len({rule.name for rule in RULES.values()}) == len(RULES)
    assert set(RULES) - DEFAULT_CODES == {"SG114"}
    assert find_rule("sg101") is find_rule("Shared-Container")
    assert RULES["SG101"].url == f"{DOCUMENTATION}/SG101/"
