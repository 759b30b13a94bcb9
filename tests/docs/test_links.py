"""Links lead somewhere, and every message's address is a paragraph of the page that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stateguard import errors, rules
from stateguard.messages import PAGE, see
from stateguard.watch.diff import RawChange
from tests.docs.pages import DOCS, PAGES, ROOT, anchors

MESSAGES = DOCS / "messages.md"
ELSEWHERE = {
    DOCS / "changelog.md": "CHANGELOG.md",
    DOCS / "contributing.md": "CONTRIBUTING.md",
    DOCS / "security.md": "SECURITY.md",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        file = ROOT / ELSEWHERE[file] if file in ELSEWHERE else file
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page}: {target}"


def test_every_kind_of_leak_has_a_paragraph() -> None:
    kinds = re.findall(
        r"``([a-z ]+)``", (RawChange.__doc__ or "").partition("``kind``")[2].partition("``before``")[0]
    )
    assert len(kinds) == 16
    assert {see(kind).partition("#")[2] for kind in kinds} <= anchors(MESSAGES)


def test_every_error_has_a_paragraph_and_says_where() -> None:
    classes = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.StateGuardError)
    ]
    assert len(classes) > 10
    for each in classes:
        error = each("what happened", "near") if each is errors.WatchError else each("what happened")
        assert str(error) == "what happened"
        [note] = error.__notes__
        address, _, anchor = note.partition("#")
        assert address == f"{PAGE}/"
        assert anchor in anchors(MESSAGES), each


def test_every_address_in_the_source_has_a_paragraph() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    slugs = set(re.findall(r"""\bsee\(["']([\w-]+)["']\)""", source))
    assert slugs >= {"failed", "watches-nothing"}
    assert slugs <= anchors(MESSAGES)


def test_every_rule_has_a_page() -> None:
    for rule in rules.RULES.values():
        assert (DOCS / "rules" / f"{rule.code}.md").exists()
        assert rule.url == f"https://stateguard.readthedocs.io/rules/{rule.code}/"
